"""Finding the plate in a folder, and saying why there is none."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_engine import FunctionStep, PipelineOrchestrator
from openhcs_engine.errors import NotAPlateError, OptionError, PlateIdError, SeveralPlatesError, UnreadablePlateError
from openhcs_engine.functions import create_max_projection
from openhcs_engine.microscopes import (
    FolderListing,
    ListedFile,
    MicroscopeHandler,
    default_handlers,
    detect_microscope,
    list_folder,
)
from openhcs_engine.microscopes.file_names.handler import PatternHandler, compile_pattern
from openhcs_engine.microscopes.handler import outermost
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

TINY = SyntheticPlate(rows=1, columns=1, sites=1, channels=("DAPI",), z=1, shape=(64, 64), thumbnails=False)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A sound plate of one image."""
    return write_imagexpress(tmp_path / "inbox" / "plate", TINY)


def test_a_plate_is_found_and_named_after_its_folder(plate: Path) -> None:
    """The folder's name is the default id; another may be given."""
    detected = detect_microscope(plate)
    assert detected.handler.name == "imagexpress"
    assert detected.read_plate()[0].plate_id == "plate"
    assert detected.read_plate("other-id")[0].plate_id == "other-id"


@pytest.mark.parametrize("plate_id", ["a/b", "..", "a\x07b"])
def test_a_bad_plate_id_is_refused(plate: Path, plate_id: str) -> None:
    """An id that cannot be a folder's name is refused in a sentence."""
    with pytest.raises(PlateIdError, match="cannot be a plate id"):
        detect_microscope(plate).read_plate(plate_id)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """The sentence names the folder."""
    with pytest.raises(NotAPlateError, match=r"There is no folder .*nowhere; give the folder of a plate\."):
        detect_microscope(tmp_path / "nowhere")


def test_a_file_is_not_a_plate(plate: Path) -> None:
    """Who gives the HTD is told to give its folder."""
    with pytest.raises(NotAPlateError, match=r"synthetic\.HTD is a file; give the plate folder that holds it\."):
        detect_microscope(plate / "synthetic.HTD")


def test_an_empty_folder(tmp_path: Path) -> None:
    """Empty is said to be empty."""
    with pytest.raises(NotAPlateError, match=r"is empty: there is no plate in it\."):
        detect_microscope(tmp_path)


def test_a_name_that_no_folder_has() -> None:
    """A NUL in the path is a sentence too."""
    with pytest.raises(NotAPlateError, match=r"a\\x00b"):
        detect_microscope("a\0b")


def test_a_folder_of_other_files_says_what_was_looked_for(tmp_path: Path) -> None:
    """Nothing known: the error tells what makes a folder a plate."""
    (tmp_path / "notes.txt").write_text("no plate")
    with pytest.raises(NotAPlateError) as caught:
        detect_microscope(tmp_path)
    told = str(caught.value)
    assert told.startswith(
        f"{tmp_path} is not a plate: none of its 1 files fits a known format (looked for imagexpress:"
    )
    assert all(f"{handler.name}: {handler.looks_for}" in told for handler in default_handlers())
    assert caught.value.path == str(tmp_path)


def test_several_plates_are_listed(plate: Path) -> None:
    """A folder of plates is no plate; the error lists them."""
    shutil.copytree(plate, plate.parent / "second")
    with pytest.raises(
        SeveralPlatesError, match="holds 2 plates; give the folder of one of them: plate, second"
    ) as caught:
        detect_microscope(plate.parent)
    assert caught.value.plates == ("plate", "second")


def test_a_plate_without_images_counts_among_several(plate: Path) -> None:
    """A folder with only an HTD is a plate of its own."""
    (plate.parent / "second").mkdir()
    shutil.copy(plate / "synthetic.HTD", plate.parent / "second")
    with pytest.raises(SeveralPlatesError) as caught:
        detect_microscope(plate.parent)
    assert caught.value.plates == ("plate", "second")


def test_a_plate_alone_in_a_tree_is_one_plate(plate: Path) -> None:
    """A plate below single folders is found from above; its paths begin there."""
    read, index = detect_microscope(plate.parent.parent).read_plate()
    assert read.plate_id == Path(plate.parent.parent).name.replace("[", "_").replace("]", "_")
    assert [row.path for row in index] == ["inbox/plate/TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif"]


def test_a_folder_name_alone_decides_nothing(tmp_path: Path) -> None:
    """TimePoint and ZStep folders of other files are no plate."""
    folder = tmp_path / "TimePoint_1" / "ZStep_1"
    folder.mkdir(parents=True)
    (folder / "image.tif").write_bytes(b"II*\0")
    (tmp_path / "fake.HTD").write_text("not an HTD")
    with pytest.raises(NotAPlateError):
        detect_microscope(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "operetta_ball_384",
        "phenix_BR00121482_xml_only",
        "cv8000_minimal",
        "cv7000_hipsc_png",
        "cv7000_z_processed_meta_only",
        "sbs_translocation",
        "examplehuman",
        "nf1_cytation",
        "omezarr_apx_2d.zarr",
    ],
)
def test_imagexpress_does_not_take_other_formats(data_dir: Path, name: str) -> None:
    """Real plates of other makers are not taken for ImageXpress."""
    (handler,) = (handler for handler in default_handlers() if handler.name == "imagexpress")
    assert not handler.recognises(list_folder(data_dir / name))


class MarkedHandler(MicroscopeHandler):
    """A format of its own: a folder with a file ``marker``."""

    name = "marked"
    looks_for = "a file called marker"

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        return outermost(file.folder for file in listing.files if file.name == "marker")

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        raise AssertionError("not read here")


def test_handlers_are_passed_in(tmp_path: Path) -> None:
    """A format is one more handler in the sequence that is given, and nothing else is asked."""
    (tmp_path / "marker").touch()
    assert detect_microscope(tmp_path, handlers=[*default_handlers(), MarkedHandler()]).handler.name == "marked"
    with pytest.raises(NotAPlateError):
        detect_microscope(tmp_path)


class LetterHandler(MarkedHandler):
    """Reads every TIFF beside the marker by a pattern."""

    name = "letters"

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        pattern = compile_pattern(r"letter_(?P<well>[A-Z][0-9])\.tif")
        plate, index = PatternHandler(pattern).read_plate(listing, plate_id)
        return replace(plate, microscope=self.name), index


def test_an_orchestrator_reads_a_format_that_is_passed_in(tmp_path: Path) -> None:
    """From the folder to the results, without a change of the engine."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "marker").touch()
    tifffile.imwrite(raw / "letter_B2.tif", np.full((16, 16), 7, np.uint16))
    pipeline = [FunctionStep(create_max_projection)]

    orchestrator = PipelineOrchestrator(
        raw, output=tmp_path / "out", runner="threads", microscopes=[*default_handlers(), LetterHandler()]
    ).initialize()
    results = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline))

    assert (orchestrator.plate.microscope, orchestrator.plate.wells) == ("letters", ("B02",))
    assert [result.success for result in results.values()] == [True]


def test_a_format_that_is_passed_in_has_its_name_like_all_others(tmp_path: Path) -> None:
    """It can be chosen by its name, and is among those that the refusal of a wrong name lists."""
    (tmp_path / "marker").touch()
    formats = [*default_handlers(), LetterHandler()]

    assert ReadOptions(microscope="letters").detect(str(tmp_path), formats).handler.name == "letters"
    with pytest.raises(OptionError, match=r"choose from imagexpress, .*, letters"):
        PipelineOrchestrator(tmp_path, microscope="letter", microscopes=formats)
    with pytest.raises(OptionError, match="choose from letters"):
        PipelineOrchestrator(tmp_path, microscope="imagexpress", microscopes=[LetterHandler()])


def test_the_outer_plate_is_taken_by_its_own_handler(plate: Path) -> None:
    """A folder of another format inside a plate belongs to the plate."""
    (plate / "marker").touch()
    (plate / "TimePoint_1" / "marker").touch()
    shutil.move(plate / "marker", plate.parent / "marker")
    detected = detect_microscope(plate.parent, handlers=[*default_handlers(), MarkedHandler()])
    assert detected.handler.name == "marked"


def test_a_folder_is_listed_once(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detecting and reading a plate scans each of its folders exactly once."""
    scanned: list[str] = []
    scan = os.scandir

    def counting(path: str) -> object:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", counting)
    detect_microscope(plate).read_plate()
    assert sorted(scanned) == sorted(map(str, (plate, plate / "TimePoint_1", plate / "TimePoint_1/ZStep_1")))


def test_indexing_asks_no_image_for_its_size_but_those_whose_headers_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few images of each channel are asked; sizes and times of the planes stay unknown."""
    spec = replace(TINY, rows=4, columns=12, sites=1, channels=("DAPI", "GFP"))
    folder = write_imagexpress(tmp_path / "plate", spec)
    asked = count_stats(monkeypatch)

    _, index = detect_microscope(folder).read_plate()

    images = {str(folder / str(plane.path)) for plane in index}
    assert len(images) == 96
    assert 0 < len(images & set(asked)) <= 25
    assert {(plane.size, plane.mtime_ns) for plane in index} == {(None, None)}


def test_only_images_of_the_same_plane_are_compared_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy among other images: beside the few whose headers are read, no other's size is asked."""
    folder = write_imagexpress(tmp_path / "plate", replace(TINY, rows=8, columns=12))
    images = folder / "TimePoint_1" / "ZStep_1"
    shutil.copy(images / "synthetic_A05_s1_w1.tif", images / "again_A05_s1_w1.tif")
    asked = count_stats(monkeypatch)

    read, index = detect_microscope(folder).read_plate()

    assert len(index) == 96
    assert any("repeat others byte for byte" in note for note in read.notes)
    compared = {"again_A05_s1_w1.tif", "synthetic_A05_s1_w1.tif"}
    names = {Path(path).name for path in asked if path.endswith(".tif")}
    assert compared < names and len(names) <= 25 + len(compared)


def count_stats(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each path is asked from now on, by any call of ``os``."""
    asked: Counter[str] = Counter()
    stat, lstat = os.stat, os.lstat

    def counting(ask: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def counted(path: Any, **options: Any) -> os.stat_result:  # Any: whatever the original takes
            asked[os.fsdecode(path) if not isinstance(path, int) else ""] += 1
            return ask(path, **options)

        return counted

    monkeypatch.setattr(os, "stat", counting(stat))
    monkeypatch.setattr(os, "lstat", counting(lstat))
    return asked


def test_a_linked_image_is_a_plane_and_pipes_and_broken_links_are_none(plate: Path, tmp_path: Path) -> None:
    """A link to an image is followed; a pipe with an image's name is passed over, a link to nowhere is a warning."""
    images = plate / "TimePoint_1" / "ZStep_1"
    elsewhere = tmp_path / "elsewhere.tif"
    shutil.copy(images / "synthetic_A01_s1_w1.tif", elsewhere)
    (images / "synthetic_A02_s1_w1.tif").symlink_to(elsewhere)
    (images / "synthetic_A03_s1_w1.tif").symlink_to(tmp_path / "nowhere.tif")
    os.mkfifo(images / "synthetic_A04_s1_w1.tif")

    listing = list_folder(plate)

    folder = "TimePoint_1/ZStep_1"
    names = ("synthetic_A01_s1_w1.tif", "synthetic_A02_s1_w1.tif")
    assert listing.names == {folder: names, "": ("synthetic.HTD",)}
    assert (
        listing.size_of(f"{folder}/{names[1]}") == listing.size_of(f"{folder}/{names[0]}") == elsewhere.stat().st_size
    )
    (warning,) = listing.warnings
    assert warning.startswith(f"The link {folder}/synthetic_A03_s1_w1.tif leads nowhere: No such file or directory; ")
    assert "its drive is not mounted" in warning


def test_detection_opens_no_image(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The format is told by names and by the vendor's own files, whatever number of images there is."""
    opened: list[str] = []
    open_file = FolderListing.open

    def noting(self: FolderListing, path: str) -> Any:  # Any: whatever the original returns
        opened.append(path)
        return open_file(self, path)

    monkeypatch.setattr(FolderListing, "open", noting)
    detect_microscope(plate)

    assert set(opened) == {"synthetic.HTD"}


def test_a_listing_holds_its_files_by_folder_in_order() -> None:
    """Files come in any order; each folder's names stand beside its files, and suffixes are found in any case."""
    paths = ["b/2.tif", "a.HTD", "b/10.tif", "b/c/1.tif", "b.xml/z"]
    listing = FolderListing.of("/nowhere", [ListedFile(path, 1, 2) for path in paths])

    assert list(listing.by_folder) == ["", "b.xml", "b", "b/c"]
    assert [file.path for file in listing.files] == sorted(paths)
    assert listing.names == {"": ("a.HTD",), "b.xml": ("z",), "b": ("10.tif", "2.tif"), "b/c": ("1.tif",)}
    assert [file.path for file in listing.with_suffix("", ".htd")] == ["a.HTD"]
    assert listing.with_suffix("b", ".htd") == ()


def test_links_that_lead_back_are_not_followed(plate: Path) -> None:
    """Links to a folder above, to the plate itself and to a folder listed already end in a warning, not in a loop."""
    (plate / "again").symlink_to(plate)
    (plate / "above").symlink_to(plate.parent.parent)
    (plate / "inside").symlink_to(plate / "TimePoint_1")
    (plate / "gone").symlink_to(plate / "nowhere")

    listing = list_folder(plate)

    assert [file.path for file in listing.files] == [
        "TimePoint_1/ZStep_1/synthetic_A01_s1_w1.tif",
        "synthetic.HTD",
    ]
    assert len(listing.warnings) == 4
    assert sum("was not followed" in warning for warning in listing.warnings) == 3


def test_a_link_to_a_folder_elsewhere_is_followed_once(plate: Path, tmp_path: Path) -> None:
    """Plates whose time points lie on another disk are read through the link."""
    shutil.move(plate / "TimePoint_1", tmp_path / "moved")
    (plate / "TimePoint_1").symlink_to(tmp_path / "moved")
    read, index = detect_microscope(plate).read_plate()
    assert len(index.present()) == 1
    assert read.warnings == ()


def test_names_with_control_characters_are_ignored_with_a_warning(plate: Path) -> None:
    """A line break in a name cannot forge a row of a table; the plate says that it was ignored."""
    folder = plate / "TimePoint_1" / "ZStep_1"
    shutil.copy(folder / "synthetic_A01_s1_w1.tif", folder / "a\nb_A02_s1_w1.tif")
    (folder / os.fsdecode(b"\xff_A02_s1_w1.tif")).touch()

    read, index = detect_microscope(plate).read_plate()

    assert len(index) == 1
    assert read.warnings == (
        r"TimePoint_1/ZStep_1/'a\nb_A02_s1_w1.tif' was ignored: its name has control characters.",
        r"TimePoint_1/ZStep_1/'\udcff_A02_s1_w1.tif' was ignored: its name has control characters.",
    )


def test_a_plate_that_may_not_be_listed(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing permission is said, not taken for an empty folder."""
    monkeypatch.setattr(os, "scandir", refusing(plate))
    with pytest.raises(
        UnreadablePlateError, match="plate cannot be listed: Permission denied; give this user the right"
    ):
        detect_microscope(plate)


def test_a_folder_inside_that_may_not_be_listed(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One closed folder is a warning of the plate; the rest is read."""
    (plate / "TimePoint_2").mkdir()
    monkeypatch.setattr(os, "scandir", refusing(plate / "TimePoint_2"))
    read, index = detect_microscope(plate).read_plate()
    assert len(index) == 1
    (warning,) = read.warnings
    assert warning.startswith("The folder TimePoint_2 cannot be listed: Permission denied; give this user the right")


def refusing(folder: Path) -> Callable[[str], object]:
    """A scandir to which one folder is closed; root, who runs tests in containers, may list everything."""
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    return scandir
