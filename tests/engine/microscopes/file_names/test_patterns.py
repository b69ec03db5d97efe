"""Plates told by file names or a table: real exports against their facts, and small folders with one trap each."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import NamePatternError, NotAPlateError, SeveralPlatesError, UnreadablePlateError
from openhcs_engine.microscopes import default_handlers, detect_microscope
from openhcs_engine.microscopes.declared import number_channels
from openhcs_engine.microscopes.file_names.handler import VALID_GROUPS, PatternHandler, compile_pattern, pattern_handler
from openhcs_engine.microscopes.file_names.presets import PRESETS
from openhcs_engine.microscopes.file_names.regex_timeout import match_all
from openhcs_engine.microscopes.listing import FolderListing, ListedFile, list_folder
from openhcs_engine.model.image_index import ImageIndex, ImageKey, PlaneKind
from openhcs_engine.model.plate import Plate, StageFrame
from openhcs_engine.model.wells import normalise_well, well_name

Facts = dict[str, Any]  # Any: the JSON of the published facts
PIXELS = np.arange(48, dtype=np.uint16).reshape(6, 8)


def facts_of(data_dir: Path, name: str) -> Facts:
    """The published truth of one set."""
    facts: Facts = json.loads((data_dir / "facts.json").read_text(encoding="utf-8"))[name]
    return facts


def read(folder: Path, **how: Any) -> tuple[Plate, ImageIndex]:  # Any: preset, pattern or planes_csv
    """The plate of a folder, by a preset, pattern or table; by detection without one."""
    return detect_microscope(folder, handlers=[pattern_handler(**how)] if how else None).read_plate()


def folder_of(root: Path, *names: str) -> Path:
    """A folder with the same small image under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            path.write_bytes(imagecodecs.png_encode(PIXELS))
        elif path.suffix.lower().startswith(".tif"):
            tifffile.imwrite(path, PIXELS)
        else:
            path.write_text("no image", encoding="utf-8")
    return root


def digests(folder: Path, index: ImageIndex) -> dict[ImageKey, str]:
    """sha256 of the pixels that each plane's path leads to, as the facts define it."""
    found = {}
    for plane in index:
        path = folder / str(plane.path)
        pixels = imagecodecs.png_decode(path.read_bytes()) if path.suffix == ".png" else tifffile.imread(path)
        found[plane.key] = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return found


def sbs_truth(facts: Facts) -> Iterator[tuple[ImageKey, str]]:
    """Two channels of each well."""
    for well, said in facts["per_well"].items():
        yield ImageKey(well, 1, 1, 1, 1), said["channel1_gfp"]["sha256"]
        yield ImageKey(well, 1, 2, 1, 1), said["channel2_dna"]["sha256"]


def human_truth(facts: Facts) -> Iterator[tuple[ImageKey, str]]:
    """One field of three channels, both counted from 0."""
    for name, said in facts["images"].items():
        yield ImageKey("D03", 0, int(name[-5]), 1, 1), said["sha256"]


def nf1_truth(facts: Facts) -> Iterator[tuple[ImageKey, str]]:
    """One site of two wells, three channels."""
    for well, said in facts["wells"].items():
        for channel, image in said["channels"].items():
            yield ImageKey(normalise_well(well), said["site"], int(channel), 1, 1), image["sha256"]


def hipsc_truth(facts: Facts) -> Iterator[tuple[ImageKey, str]]:
    """The tiles that were kept; the instrument counts everything from 1."""
    for tile in facts["tiles"]:
        if tile["exists"]:
            yield ImageKey("B03", int(tile["fov"]), 1, int(tile["z"]) + 1, 1), tile["sha256"]


REAL = (
    ("sbs_translocation", "channel_row_column", sbs_truth, (640, 640), "uint8"),
    ("examplehuman", "arrayscan", human_truth, (512, 512), "uint8"),
    ("nf1_cytation", "cytation", nf1_truth, (904, 1224), "uint16"),
    ("cv7000_hipsc_png", "cellvoyager", hipsc_truth, (2160, 2560), "uint16"),
)


@pytest.mark.parametrize(("name", "preset", "truth", "shape", "dtype"), REAL, ids=[case[0] for case in REAL])
def test_presets_read_real_exports(
    data_dir: Path, name: str, preset: str, truth: Any, shape: tuple[int, int], dtype: str
) -> None:  # Any: one of the functions above
    """A preset gives exactly the published planes, and each path leads to the published pixels."""
    plate, index = read(data_dir / name, preset=preset)

    assert digests(data_dir / name, index) == dict(truth(facts_of(data_dir, name)))
    assert plate.microscope == "pattern"
    assert {(channel.shape, channel.dtype) for channel in plate.channels} == {(shape, dtype)}
    assert (plate.pixel_size_um, plate.grid, plate.stage_frame, plate.rows) == (None, None, None, None)
    assert plate.warnings == ()
    assert f"by the preset {preset}" in plate.notes[0]


@pytest.mark.parametrize(("name", "preset"), [case[:2] for case in REAL[:3]])
def test_detection_chooses_the_preset_and_says_so(data_dir: Path, name: str, preset: str) -> None:
    """A folder of images alone is read by the preset that fits its names, with the same planes as if it were given."""
    plate, index = read(data_dir / name)
    assert index == read(data_dir / name, preset=preset)[1]
    assert f"by the preset {preset}, which fits nearly all images" in plate.notes[0]


def test_masks_are_no_planes(data_dir: Path) -> None:
    """CellProfiler's masks beside the images are left out, counted, and three of them are named."""
    plate, index = read(data_dir / "nf1_cytation")
    assert not any("masks" in str(plane.path) for plane in index)
    assert plate.wells == ("B07", "D06")
    assert plate.sites == (2, 3)
    assert [channel.name for channel in plate.channels] == ["DAPI", "GFP", "RFP"]
    assert plate.notes[1].startswith("6 files do not match and were left out (masks/B7_01_1_3_DAPI_001_MaskNuclei.tiff")
    assert plate.notes[1].endswith(", ...).")


def test_the_names_tell_the_plate(data_dir: Path) -> None:
    """What a preset finds as the plate is its name; the folder's name stays the id."""
    plate, _ = read(data_dir / "examplehuman")
    assert (plate.plate_id, plate.name) == ("examplehuman", "AS_09125_050116030001")


def test_a_real_format_goes_before_presets(data_dir: Path) -> None:
    """CellVoyager names belong to the format's own handler; the preset is only for those who ask for it."""
    assert detect_microscope(data_dir / "cv7000_hipsc_png").handler.name == "cellvoyager"


def test_a_preset_is_not_chosen_for_half_of_the_images(tmp_path: Path) -> None:
    """Where many images have other names, nobody guesses; who gives the preset gets the ones that fit."""
    folder = folder_of(tmp_path, "A01f00d0.tif", "A02f00d0.tif", "overview.tif")
    with pytest.raises(NotAPlateError):
        read(folder)
    plate, _ = read(folder, preset="arrayscan")
    assert plate.wells == ("A01", "A02")
    assert plate.notes[1] == "1 file does not match and was left out (overview.tif)."


def test_two_folders_of_such_images_are_two_plates(tmp_path: Path) -> None:
    """Detection merges sibling folders only where each is called after its one well."""
    folder = folder_of(tmp_path, "one/A01f00d0.tif", "two/A02f00d0.tif")
    with pytest.raises(SeveralPlatesError) as caught:
        read(folder)
    assert caught.value.plates == ("one", "two")


def test_a_plate_of_a_real_format_is_not_joined_by_loose_images(small_plate: Path) -> None:
    """Presets are not asked where a format finds a plate."""
    assert detect_microscope(small_plate, handlers=default_handlers()).handler.name == "imagexpress"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One plane in a preset's spelling."""

    preset: str
    name: str
    key: ImageKey


SPELLINGS = (
    Spelling("cytation", "E5_01_4_1Z0_Confocal CY5_001.tif", ImageKey("E05", 1, 4, 0, 1)),
    Spelling("cytation", "AF48_12_1_25_GFP 469,525_010.TIF", ImageKey("AF48", 25, 1, 1, 10)),
    Spelling("arrayscan", "MFGTMP_150406100001_P24f12d3.TIF", ImageKey("P24", 12, 3, 1, 1)),
    Spelling("cytation_old", "AA1_2Z3_Bright Field_4_005_.tif", ImageKey("AA01", 2, 4, 3, 5)),
    Spelling("cytation_old", "P24_1_Bright Field_1_001_02.tif", ImageKey("P24", 1, 1, 1, 1)),
    Spelling("incell", "A - 01(fld 1 wv 390 - Blue).tif", ImageKey("A01", 1, 1, 1, 1)),
    Spelling("incell", "P_1_F - 001(fld 02 wv Green - dsRed z 3).tif", ImageKey("F01", 2, 1, 3, 1)),
    Spelling("incell", "B - 12(fld 3 wv Blue - FITC - time 07 - 360000 ms).tif", ImageKey("B12", 3, 1, 1, 7)),
    Spelling("incell", "AF - 48(fld 1 wv TL-Brightfield - Cy3 wix 2 z 4).TIF", ImageKey("AF48", 1, 1, 4, 1)),
    Spelling("cellvoyager", "a#b_AA01_T0002F012L01A03Z04C02.tif", ImageKey("AA01", 12, 2, 4, 2)),
    Spelling("channel_row_column", "Channel10-384-P-24.tif", ImageKey("P24", 1, 10, 1, 1)),
)


@pytest.mark.parametrize("case", SPELLINGS, ids=lambda case: case.name)
def test_presets_read_the_vendors_other_spellings(tmp_path: Path, case: Spelling) -> None:
    """Larger plates, z, later time points: every token has its place."""
    _, index = read(folder_of(tmp_path, case.name), preset=case.preset)
    assert [plane.key for plane in index] == [case.key]


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("cytation", "A1_-1_1_1_Stitched[GFP 469,525]_001.tif"),
        ("cytation", "B7_01_1_3_DAPI_001_MaskNuclei.tiff"),
        ("cytation", "A1_-2_1_1_Tsf[Stitched[GFP 469,525]]_001.tif"),
        ("cytation_old", "A1_1_Stitched[AandB_Phase Contrast]_1_001_-1.tif"),
        ("arrayscan", "AS_09125_050118150001_A03f00o1.tif"),
        ("cellvoyager", "DC_sCMOS_1_C1.tif"),
        ("channel_row_column", "Channel1-01-A-01.tif.txt"),
    ],
)
def test_what_the_instrument_computed_is_no_plane(preset: str, name: str) -> None:
    """Stitched images, masks, overlays and dark images have other names."""
    assert PRESETS[preset].fullmatch(name) is None


def test_an_in_cell_folder_is_found_and_its_channels_named(tmp_path: Path) -> None:
    """By content; the light and the filter are the channel's name."""
    waves = ("DAPI - DAPI", "TL-Brightfield - Cy3 wix 2")
    plate, index = read(folder_of(tmp_path, *[f"B - 02(fld {f} wv {wave}).tif" for f in (1, 2) for wave in waves]))

    assert [channel.name for channel in plate.channels] == ["DAPI - DAPI", "TL-Brightfield - Cy3"]
    assert (plate.wells, plate.sites, len(index)) == (("B02",), (1, 2), 4)


def test_regions_of_interest_have_sites_of_their_own(tmp_path: Path) -> None:
    """Each region counts its fields from 1; on the plate they are numbered on, and a note tells how."""
    names = [f"A1ROI{region}_01_1_{field}Z{z}_DAPI_001.tif" for region in (2, 10) for field in (1, 2) for z in (0, 1)]

    plate, index = read(folder_of(tmp_path, *names))

    assert (plate.wells, plate.sites, plate.z_indexes, len(index)) == (("A01",), (1, 2, 3, 4), (0, 1), 8)
    assert next(plane.path for plane in index if plane.key.site == 3) == "A1ROI10_01_1_1Z0_DAPI_001.tif"
    assert any("3: region 10, site 1" in note for note in plate.notes)


def test_a_channel_that_was_read_twice_is_two(tmp_path: Path) -> None:
    """A well read at two magnifications: neither image replaces the other, and both keep their names."""
    names = [f"{well}_{step}_1_1_Bright Field_001.tif" for well in ("A1", "B2") for step in ("02", "03")]

    plate, index = read(folder_of(tmp_path, *names))

    assert [channel.name for channel in plate.channels] == ["Bright Field (read 02)", "Bright Field (read 03)"]
    assert [str(plane.path) for plane in index if plane.key.channel == 2] == [names[1], names[3]]
    assert any("Several reads (02, 03)" in note for note in plate.notes)


def test_reads_of_different_channels_change_no_name(tmp_path: Path) -> None:
    """Each dye read by a step of its own is what it always was."""
    plate, _ = read(folder_of(tmp_path, "A1_01_1_1_DAPI_001.tif", "A1_02_1_1_GFP_001.tif"))

    assert [channel.name for channel in plate.channels] == ["DAPI", "GFP"]


@pytest.mark.parametrize("folder", ["{}", "ID_{} info"])
def test_wells_in_folders_named_after_them_are_one_plate(tmp_path: Path, folder: str) -> None:
    """Gen5 can store each well in its own folder."""
    names = [f"{folder.format(well)}/{well}_01_1_1_GFP_00{t}.tif" for well in ("A1", "A12") for t in (1, 2)]

    plate, index = read(folder_of(tmp_path, *names))

    assert (plate.wells, plate.timepoints, len(index)) == (("A01", "A12"), (1, 2), 4)


@pytest.mark.parametrize(
    "names",
    [
        ("A1/P1_A01f00d0.tif", "A2/P2_A02f00d0.tif"),
        ("A1/A01f00d0.tif", "A2/A03f00d0.tif"),
        ("A1/A01f00d0.tif", "A1b/A01f00d0.tif"),
        ("A1/A01f00d0.tif", "A2/B2_01_1_1_GFP_001.tif"),
    ],
    ids=["other plates", "another well", "the same well", "another format"],
)
def test_folders_that_only_look_like_wells_are_plates(tmp_path: Path, names: tuple[str, str]) -> None:
    """What the files say decides."""
    with pytest.raises(SeveralPlatesError):
        read(folder_of(tmp_path, *names))


# A user's own pattern.


def test_text_channels_are_numbered_in_natural_order(tmp_path: Path) -> None:
    """Names instead of numbers: w2 comes before w10, and the text is the channel's name."""
    folder = folder_of(tmp_path, "a1 w10.tif", "a1 w2.tif", "a1 DAPI.tif")
    plate, index = read(folder, pattern=r"(?P<well>\w+) (?P<channel>\w+)\.tif")
    assert [(channel.index, channel.name) for channel in plate.channels] == [(1, "DAPI"), (2, "w2"), (3, "w10")]
    assert [plane.path for plane in index] == ["a1 DAPI.tif", "a1 w2.tif", "a1 w10.tif"]
    assert [plane.key for plane in index] == [ImageKey("A01", 1, channel, 1, 1) for channel in (1, 2, 3)]


def test_a_number_may_have_a_name(tmp_path: Path) -> None:
    """The vendor's number stays, and the name is that of the channel."""
    folder = folder_of(tmp_path, "A01_3_GFP.tif", "A01_7_.tif")
    plate, _ = read(folder, pattern=r"(?P<well>\w\d+)_(?P<channel>\d)_(?P<channel_name>\w*)\.tif")
    assert [(channel.index, channel.name) for channel in plate.channels] == [(3, "GFP"), (7, None)]


def test_one_number_with_two_names_is_two_channels(tmp_path: Path) -> None:
    """Two read steps of Gen5 count channels anew: nothing is overwritten, and a note says how they are numbered."""
    folder = folder_of(tmp_path, "A1_01_1_1_DAPI_001.tif", "A1_02_1_1_GFP_001.tif")
    plate, index = read(folder, preset="cytation")
    assert [(channel.index, channel.name) for channel in plate.channels] == [(1, "DAPI"), (2, "GFP")]
    assert len(index) == 2
    assert plate.notes[-1].startswith("Channel 1 stands for DAPI and GFP")


@pytest.mark.parametrize("name", ["B-3.tif", "b-03.tif", "2-3.tif", "02-03.tif"])
def test_rows_are_letters_or_numbers(tmp_path: Path, name: str) -> None:
    """Row and column in groups of their own give the one spelling of the well."""
    plate, _ = read(folder_of(tmp_path, name), pattern=r"(?P<row>\w+)-(?P<column>\d+)\.tif")
    assert plate.wells == ("B03",)


@pytest.mark.parametrize("name", ["A1.tif", "a01.tif", "r01c01.tif", "R1C1.tif"])
def test_wells_in_any_spelling(tmp_path: Path, name: str) -> None:
    """The group ``well`` takes every accepted spelling; what is not said is 1."""
    _, index = read(folder_of(tmp_path, name), pattern=r"(?P<well>.+)\.tif")
    assert [plane.key for plane in index] == [ImageKey("A01", 1, 1, 1, 1)]


def test_a_pattern_with_a_slash_sees_folders(tmp_path: Path) -> None:
    """The well may be a folder, and folders that do not match are left out."""
    folder = folder_of(tmp_path, "A01/day2/3.tif", "A02/day2/3.tif", "old/A01/day2/3.tif")
    plate, index = read(folder, pattern=r"(?P<well>\w+)/day(?P<timepoint>\d)/(?P<site>\d)\.tif")
    assert [plane.key for plane in index] == [ImageKey("A01", 3, 1, 1, 2), ImageKey("A02", 3, 1, 1, 2)]
    assert plate.notes[-1] == "1 file does not match and was left out (old/A01/day2/3.tif)."


def test_a_pattern_without_a_slash_sees_names(tmp_path: Path) -> None:
    """The same files in one folder or many are the same plate."""
    folder = folder_of(tmp_path, "a/A01.tif", "b/c/A02.tif")
    assert read(folder, pattern=r"(?P<well>\w+)\.tif")[0].wells == ("A01", "A02")


def test_two_files_of_one_plane_are_an_error(tmp_path: Path) -> None:
    """No file silently replaces another: both are named."""
    folder = folder_of(tmp_path, "A1_x.tif", "A01_y.tif", "B01_x.tif", "B1_x.tif")
    with pytest.raises(
        UnreadablePlateError, match=r"A01_y\.tif and A1_x\.tif are both well A01, site 1, channel 1.*1 more pairs"
    ):
        read(folder, pattern=r"(?P<well>\w\d+)_\w\.tif")


def test_names_that_make_no_sense_are_warnings(tmp_path: Path) -> None:
    """A match whose well, number or kind cannot be is left out and named with the reason."""
    folder = folder_of(tmp_path, "A01_1.tif", "Z99_1.tif", "A02_x.tif", "A03_1.txt")
    plate, index = read(folder, pattern=r"(?P<well>\w\d+)_(?P<site>\w)\.\w+")
    assert [plane.key.well for plane in index] == ["A01"]
    assert plate.warnings == (
        "Left out, although the pattern matches: 3 of the files (A02_x.tif: site 'x' is no number, "
        "A03_1.txt: it is no TIFF or PNG, Z99_1.tif: 'Z99' is no well).",
    )


def test_names_of_two_plates_are_a_warning(tmp_path: Path) -> None:
    """Where the group ``plate`` has several values, the plate says that it was made of them."""
    plate, _ = read(folder_of(tmp_path, "p_A01f00d0.tif", "q_A02f00d0.tif"), preset="arrayscan")
    assert plate.warnings == ("The names speak of 2 plates (p, q); they were read as one.",)
    assert plate.name == tmp_path.name


def test_nothing_matches(tmp_path: Path) -> None:
    """The error shows what the folder holds and which presets there are."""
    folder = folder_of(tmp_path, "img_1.tif", "notes.txt")
    with pytest.raises(NotAPlateError, match=r"holds img_1\.tif, notes\.txt\)\. Correct .*cytation, arrayscan"):
        read(folder, pattern=r"(?P<well>\w+)_nothing")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<well>\w+)_(?P<wave>\d)", r"has the group wave\. Valid groups.*well, row, column, site"),
        (r"(?P<site>\d)", "does not say the well"),
        (r"(?P<row>\w)", "does not say the well"),
        (r"(?P<well>\w)(?P<row>\w)", "has both the group well and row"),
        (r"(?P<well>\w)(?P<channel_name>\w)", "channel_name without channel"),
        (r"(?P<well>\w", r"is no regular expression: missing \), unterminated"),
        (r"(?P<well>a{99999999999999999999})", "is no regular expression"),
        (r"(?P<well>\w)" + "x" * 2000, "has 2012 characters"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(pattern: str, message: str) -> None:
    """Before any folder is read, in a sentence."""
    with pytest.raises(NamePatternError, match=message):
        pattern_handler(pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"(?P<well>[A-Z]\d\d)_(\w+)\.tif", "A01_10µm².tif"),
        (r"(?P<well>[A-Z]\d\d)_(\w+)\.tif", "A01_Pru\u0308fung.tif"),
        (r"(?P<well>[A-Z]\d\d)_(?:plate){e}\.tif", "A01_plate{e}.tif"),
        (r"(?P<well>[A-Z]\d\d)_(?:plate){e}\.tif", "A01_plat.tif"),
        (r"(?P<well>[A-Z]\d\d)_[[:digit:]_]+\.tif", "A01_1.tif"),
        (r"(?P<well>[A-Z]\d\d)\s(.+)\.tif", "A01\x1fb\udce4.tif"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_a_pattern_means_what_it_means_to_python(pattern: str, name: str) -> None:
    """Neither more nor less of a name than with ``re``, where other engines for regular expressions differ."""
    match = re.fullmatch(pattern, name)
    assert match_all(re.compile(pattern), [name]) == [match and match.groupdict()]


def test_a_catastrophic_pattern_is_stopped(tmp_path: Path) -> None:
    """A pattern that would backtrack for ever ends in a sentence that names the file."""
    folder = folder_of(tmp_path, "A01.tif", "B01" + "a" * 60 + ".tif")
    handler = PatternHandler(compile_pattern(r"(?P<well>\w\d\d)(a+)+x\.tif"), seconds=2)
    with pytest.raises(NamePatternError, match=r"takes longer than 2 s on .*at 'B01aaaa.*Repeats inside repeats"):
        handler.read_plate(list_folder(folder))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, r"Give either a preset \(cytation, arrayscan, .*nothing was given"),
        ({"preset": "cytation", "pattern": "x"}, "a preset and a pattern were given"),
        ({"preset": "a", "pattern": "b", "planes_csv": "c"}, "a preset and a pattern and a planes CSV were given"),
        ({"preset": "nikon"}, "There is no preset 'nikon'; choose one of cytation, arrayscan, cellvoyager"),
    ],
)
def test_wrong_choices_are_refused_with_the_valid_ones(how: dict[str, str], message: str) -> None:
    """Exactly one of the three, and presets by their names."""
    with pytest.raises(NamePatternError, match=message):
        pattern_handler(**how)


OWN = r"(?P<plate>.*)_(?P<well>[A-Z]{1,2}\d\d)_s(?P<site>\d+)_c(?P<channel>\d+)_z(?P<z>\d+)_t(?P<timepoint>\d+)\.tiff?"
KEYS = st.builds(
    ImageKey,
    well=st.builds(well_name, st.integers(0, 31), st.integers(0, 47)),
    site=st.integers(0, 99_999),
    channel=st.integers(0, 999),
    z_index=st.integers(0, 99_999),
    timepoint=st.integers(0, 99_999),
)
# Any text a file system takes; it may hold tokens of the pattern itself.
PREFIXES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), max_size=20).filter(
    lambda text: text.isprintable() and not text.startswith(".")
)


def by_names(names: list[str], pattern: re.Pattern[str]) -> ImageIndex:
    """The index of files that exist by their names alone."""
    listing = FolderListing.of("/nowhere/plate", (ListedFile(name, 1, 1) for name in names))
    return PatternHandler(pattern).read_plate(listing)[1]


@given(keys=st.sets(KEYS, min_size=1, max_size=5), prefix=PREFIXES)
def test_a_name_that_was_written_reads_back_equal(keys: set[ImageKey], prefix: str) -> None:
    """Every coordinate survives being written as a file name, whatever stands before it."""
    by_key = {
        key: f"{prefix}_{key.well}_s{key.site}_c{key.channel}_z{key.z_index}_t{key.timepoint}.tif" for key in keys
    }
    index = by_names(list(by_key.values()), compile_pattern(OWN))
    assert {plane.key: plane.path for plane in index} == by_key


@given(keys=st.sets(KEYS, min_size=1, max_size=5), prefix=PREFIXES)
def test_cellvoyager_names_read_back_equal(keys: set[ImageKey], prefix: str) -> None:
    """The same law for a preset."""
    by_key = {
        key: f"{prefix}_{key.well}_T{key.timepoint:04}F{key.site:03}L01A01Z{key.z_index:02}C{key.channel:02}.tif"
        for key in keys
    }
    index = by_names(list(by_key.values()), PRESETS["cellvoyager"])
    assert {plane.key: plane.path for plane in index} == {
        key: path for key, path in by_key.items() if not path.startswith("._")
    }


CHANNELS = st.tuples(st.sampled_from(["1", "01", "2", "10", "DAPI", "w2", "w10"]), st.sampled_from([None, "a", "b"]))


@given(st.lists(CHANNELS, min_size=1))
def test_channel_numbers_do_not_depend_on_the_order(declared: list[tuple[str, str | None]]) -> None:
    """Channels get the same numbers in whatever order files come; other texts never share one."""
    numbers = number_channels(declared)
    assert numbers == number_channels(declared[::-1])
    texts: dict[int, set[str]] = {}
    for (text, _), number in numbers.by_declaration.items():
        texts.setdefault(number, set()).add(text.lstrip("0"))
    assert all(len(found) == 1 for found in texts.values())
    assert set(numbers.names) == set(texts)


def test_hostile_names(tmp_path: Path) -> None:
    """Resource forks, foreign digits, endless names and line breaks are no planes, and nothing else breaks."""
    folder = folder_of(
        tmp_path, "A01_1.tif", "._A01_1.tif", "A02_٣.tif", "..A03_1.tif", "Α04_1.tif", "x" * 240 + "A05_1.tif"
    )
    folder_of(tmp_path, "A06\n_1.tif")
    plate, index = read(folder, pattern=r"\W*(?P<well>\w\d+)\n?_(?P<site>\d)\.tif")
    assert [plane.path for plane in index] == ["A01_1.tif"]
    assert any(r"A06\n_1.tif' was ignored" in warning for warning in plate.warnings)
    assert any("A02_٣.tif: site '٣' is no number" in warning for warning in plate.warnings)


def test_few_headers_are_read_for_each_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files there are, at most 25 are looked at, each once."""
    folder = folder_of(tmp_path, *(f"{well_name(0, column)}f00d{c}.tif" for column in range(36) for c in (0, 1)))
    opened: Counter[str] = Counter()
    open_file = FolderListing.open_header

    def counting(self: FolderListing, path: str) -> Any:  # Any: whatever the original returns
        opened[path] += 1
        return open_file(self, path)

    monkeypatch.setattr(FolderListing, "open_header", counting)
    plate, _ = read(folder)
    assert set(opened.values()) == {1} and len(opened) <= 25
    assert {path[-5] for path in opened} == {"0", "1"}
    assert (plate.shape, plate.dtype) == ((6, 8), "uint16")


def test_damaged_images_do_not_stop_the_plate(tmp_path: Path) -> None:
    """The next file gives the shape; damaged and cut ones are named."""
    folder = folder_of(tmp_path, "A01f00d0.png", "A02f00d0.png", "A01f00d1.tif")
    whole = (folder / "A02f00d0.png").read_bytes()
    (folder / "A01f00d0.png").write_bytes(whole[:20])
    (folder / "A02f00d0.png").write_bytes(whole[:-5])
    (folder / "A01f00d1.tif").write_bytes(b"no image")
    plate, index = read(folder, preset="arrayscan")
    assert len(index) == 3
    assert [channel.shape for channel in plate.channels] == [(6, 8), None]
    assert plate.warnings == (
        "A01f00d0.png cannot be read: it is cut short.",
        "A02f00d0.png is cut short: it does not end as a PNG does.",
        "A01f00d1.tif cannot be read: it is not a TIFF.",
    )


def test_coloured_pngs_are_named(tmp_path: Path) -> None:
    """A PNG of three values a pixel is no plane's image; the channel has no shape."""
    (tmp_path / "A01f00d0.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 4, 3), np.uint8)))
    plate, _ = read(tmp_path)
    assert plate.warnings == ("A01f00d0.png cannot be read: it is a coloured image, expected one grey value a pixel.",)


# A CSV of planes.


def csv_plate(folder: Path, text: str, encoding: str = "utf-8") -> tuple[Plate, ImageIndex]:
    """The plate that a table in the folder describes."""
    (folder / "planes.csv").write_bytes(text.encode(encoding))
    return read(folder, planes_csv=folder / "planes.csv")


def test_a_table_of_planes(tmp_path: Path) -> None:
    """Every column has its effect; a listed file that does not exist is a missing plane with its path."""
    folder_of(tmp_path, "a/1.tif", "a/2.tif", "a/mip.tif", "other.tif")
    plate, index = csv_plate(
        tmp_path,
        "path,well,site,channel,z_index,timepoint,channel_name,x_um,y_um,z_um,kind\n"
        "a/1.tif,b3,2,1,1,4,DAPI,-10.5,20,3,\n"
        "a/2.tif,b3,2,1,2,4,DAPI,-10.5,20,6,plane\n"
        "a/mip.tif,b3,2,1,,4,DAPI,,,,projection\n"
        "a/gone.tif,C03,2,1,1,4,DAPI,,,,plane\n",
    )
    first, second, projection, gone = (
        sorted(index, key=lambda plane: str(plane.path) != "a/1.tif")[0],
        *[next(plane for plane in index if plane.path == path) for path in ("a/2.tif", "a/mip.tif", "a/gone.tif")],
    )
    assert (first.key, first.x_um, first.y_um, first.z_um) == (ImageKey("B03", 2, 1, 1, 4), -10.5, 20.0, 3.0)
    assert second.key.z_index == 2
    assert (projection.key.z_index, projection.kind) == (None, PlaneKind.PROJECTION)
    assert (gone.present, gone.path, gone.size) == (False, "a/gone.tif", 0)
    assert (plate.microscope, plate.wells, plate.absent_wells) == ("csv", ("B03",), ("C03",))
    assert plate.stage_frame == StageFrame(origin="plate", y_axis="down")
    assert (plate.channels[0].name, plate.shape, plate.dtype) == ("DAPI", (6, 8), "uint16")
    assert plate.notes == (
        "What each file is was read from planes.csv.",
        "Not in the table, and left out: 1 of the folder's files (other.tif).",
    )


def test_columns_that_are_left_out_mean_1(tmp_path: Path) -> None:
    """Path and well are enough; then there are no positions and no stage frame."""
    folder_of(tmp_path, "1.tif")
    plate, index = csv_plate(tmp_path, "Well,Path\nr01c02,./1.tif\n")
    assert [plane.key for plane in index.present()] == [ImageKey("A02", 1, 1, 1, 1)]
    assert plate.stage_frame is None


@pytest.mark.parametrize(("separator", "encoding"), [(";", "cp1252"), ("\t", "utf-16"), (";", "utf-8-sig")])
def test_tables_as_excel_writes_them(tmp_path: Path, separator: str, encoding: str) -> None:
    """Semicolons or tabs, decimal commas, a BOM, Windows' code page: the same planes."""
    folder_of(tmp_path, "Zürich.tif")
    text = "path,well,channel,x_um,y_um\r\nZürich.tif,A1,grün,1;5,-2;25\r\n".replace(",", "§").replace(";", ",")
    _, index = csv_plate(tmp_path, text.replace("§", separator), encoding)
    (plane,) = index.present()
    assert (plane.path, plane.x_um, plane.y_um) == ("Zürich.tif", 1.5, -2.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("path,well\n", "no row below its header"),
        ("path,site\na.tif,1\n", "its header has no column well"),
        ("path,well,time_point\na.tif,A1,1\n", r"unknown column time_point \(valid columns: path, well, site"),
        ("path,well,well\na.tif,A1,A2\n", "has the column well twice"),
        ("path,well\na.tif,A1\n,A2\n", 'row 3, column "path": the cell is empty'),
        ("path,well\na.tif,Q99\n", "row 2, column \"well\": 'Q99' is no well"),
        ("path,well,site\na.tif,A1,x\n", "row 2, column \"site\": 'x' is no whole number"),
        ("path,well,site\na.tif,A1,\n", 'row 2, column "site": the cell is empty'),
        ("path,well,x_um\na.tif,A1,nan\n", "row 2, column \"x_um\": 'nan' is no length in µm"),
        ("path,well,kind\na.tif,A1,mip\n", "column \"kind\": 'mip' is not one of plane, projection"),
        ("path,well,kind,z_index\na.tif,A1,projection,1\n", 'column "z_index": a projection has no z'),
        ("path,well\n../a.tif,A1\n", r'column "path": .*leads out of the plate folder'),
        ("path,well\nb/../../a.tif,A1\n", "leads out of the plate folder"),
        ("path,well\n/etc/passwd,A1\n", "leads out of the plate folder"),
        ("path,well\nC:/a.tif,A1\n", "leads out of the plate folder"),
        ("path,well\nb\\a.tif,A1\n", "has a backslash; write /"),
        ("path,well\n./,A1\n", "names no file"),
        ('path,well\n"a\nb.tif",A1\n', "has control characters"),
        ("path,well\na\0.tif,A1\n", "it is not text"),
        ("path,well\na.tif,A1\nb.tif,A01\n", r"row 2 \(a\.tif\) and row 3 \(b\.tif\) are both well A01"),
        ("path,well\na.tif,A1\n./a.tif,A2\n", r"row 2 \(a\.tif\) and row 3 \(a\.tif\) are the same file"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    """The error names the row and the column."""
    with pytest.raises(UnreadablePlateError, match=message):
        csv_plate(tmp_path, text)


def test_a_table_that_does_not_exist(tmp_path: Path) -> None:
    """The file is named."""
    folder_of(tmp_path, "a.tif")
    with pytest.raises(UnreadablePlateError, match=r"gone\.csv is no table of planes: it cannot be opened: No such"):
        read(tmp_path, planes_csv=tmp_path / "gone.csv")


def test_valid_groups_are_those_of_the_documentation() -> None:
    """Every valid group is told where patterns are explained."""
    documentation = str(PatternHandler.__doc__)
    assert [group for group in VALID_GROUPS if f"``{group}``" not in documentation] == ["channel_name"]
