"""One odd image fails its own well, wherever on the plate it lies; what is normal is known from few headers."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.image_forms import MAX_HEADERS, spread
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import well_name
from openhcs_engine.synthetic import SyntheticPlate, write_cellvoyager, write_imagexpress, write_opera_phenix
from tests.engine.plates import add
from tests.object_store import upload

SPEC = SyntheticPlate(
    name="plate", rows=1, columns=3, sites=1, channels=("DAPI",), z=1, shape=(40, 48), thumbnails=False
)
PLANE = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)


def by_names(folder: Path, spec: SyntheticPlate) -> Path:
    """A plate that file names alone describe."""
    folder.mkdir()
    for well, number in ((well, number) for well in spec.wells for number in range(len(spec.channels))):
        tifffile.imwrite(folder / f"{well}f00d{number}.tif", PLANE)
    return folder


FORMATS: dict[str, Callable[[Path, SyntheticPlate], Path]] = {
    "imagexpress": write_imagexpress,
    "harmony": write_opera_phenix,
    "cellvoyager": write_cellvoyager,
    "names": by_names,
}


@dataclass(frozen=True)
class Oddity:
    """A way in which a file differs from the others, and what the well's error says of it."""

    name: str
    save: Callable[[Path], object]
    sentence: str


ODDITIES = [
    Oddity("shape", lambda file: tifffile.imwrite(file, PLANE[:20, :30]), "is 30 x 20 uint16, but"),
    Oddity("pixel type", lambda file: tifffile.imwrite(file, PLANE.astype(np.uint8)), "is 48 x 40 uint8, but"),
    Oddity(
        "several pages",
        lambda file: tifffile.imwrite(file, np.stack([PLANE] * 3), photometric="minisblack"),
        "is a stack of several planes",
    ),
    Oddity("colour", lambda file: tifffile.imwrite(file, np.stack([PLANE] * 3, -1), photometric="rgb"), "3 values a"),
]


def read(folder: Path | str) -> tuple[Plate, ImageIndex]:
    """The plate of a folder."""
    return detect_microscope(folder).read_plate()


def file_of(folder: Path, well: str) -> Path:
    """The first image of a well."""
    _, index = read(folder)
    return folder / str(index.for_well(well).planes[0].path)


def run(folder: Path, output: Path) -> dict[str, str | None]:
    """Every well's error."""
    orchestrator = PipelineOrchestrator(folder, output=output, runner="threads").initialize()
    pipeline = Pipeline([FunctionStep(add)])
    contexts = orchestrator.compile_pipelines(pipeline)
    results = orchestrator.execute_compiled_plate(pipeline, contexts, max_workers=1)
    return {well: result.error for well, result in results.items()}


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.name)
def test_an_odd_image_in_the_first_well_fails_that_well_alone(
    tmp_path: Path, make: Callable[[Path, SyntheticPlate], Path], oddity: Oddity
) -> None:
    """In every format and whatever is odd: the plate has the good files' form, the error names the odd one."""
    folder = make(tmp_path / "plate", SPEC)
    odd = file_of(folder, "A01")
    oddity.save(odd)

    plate, _ = read(folder)
    errors = run(folder, tmp_path / "out")

    assert (plate.shape, plate.dtype) == ((40, 48), "uint16")
    assert any(odd.name in warning for warning in plate.warnings)
    assert [well for well, error in errors.items() if error] == ["A01"]
    assert odd.name in str(errors["A01"]) and oddity.sentence in str(errors["A01"])


@pytest.mark.parametrize("well", SPEC.wells)
def test_an_odd_image_fails_its_well_wherever_it_lies(tmp_path: Path, well: str) -> None:
    """First, middle or last: the sentence names the file and both forms."""
    folder = write_imagexpress(tmp_path / "plate", SPEC)
    odd = file_of(folder, well)
    tifffile.imwrite(odd, PLANE[:20, :30])

    errors = run(folder, tmp_path / "out")

    assert [name for name, error in errors.items() if error] == [well]
    assert str(errors[well]).count(odd.name) == 1
    assert "is 30 x 20 uint16, but the plate's planes of this channel are 48 x 40 uint16." in str(errors[well])


def test_another_compression_is_not_odd(tmp_path: Path) -> None:
    """How a file is packed is its own affair: all wells are done, with no warning."""
    folder = write_imagexpress(tmp_path / "plate", SPEC)
    tifffile.imwrite(file_of(folder, "A01"), PLANE, compression="zlib")

    plate, _ = read(folder)

    assert plate.warnings == ()
    assert set(run(folder, tmp_path / "out").values()) == {None}


def test_an_odd_image_of_a_plate_of_one_well_fails_it(tmp_path: Path) -> None:
    """There the sites are compared; an image that cannot be read has no say."""
    folder = write_imagexpress(tmp_path / "plate", replace(SPEC, columns=1, sites=4))
    images = sorted(folder.rglob("*.tif"))
    images[0].write_bytes(b"no image")
    tifffile.imwrite(images[1], PLANE[:20, :30])

    plate, _ = read(folder)

    assert (plate.shape, plate.dtype) == ((40, 48), "uint16")
    assert any("s2" in warning and "well A01 fails" in warning for warning in plate.warnings)


def test_channels_may_differ_from_each_other(tmp_path: Path) -> None:
    """A pixel type of its own is normal for a channel, and nothing to be told."""
    folder = write_imagexpress(tmp_path / "plate", replace(SPEC, channels=("DAPI", "GFP")))
    for path in folder.rglob("*_w2.tif"):
        tifffile.imwrite(path, PLANE.astype(np.uint8)[:20, :30])

    plate, _ = read(folder)

    assert [(channel.shape, channel.dtype) for channel in plate.channels] == [
        ((40, 48), "uint16"),
        ((20, 30), "uint8"),
    ]
    assert not plate.warnings


def test_the_vendors_metadata_decide_before_the_majority(tmp_path: Path) -> None:
    """Most of the files are of another size than the index states: the one that fits is normal."""
    folder = write_opera_phenix(tmp_path / "plate", SPEC)
    for well in ("A01", "A02"):
        tifffile.imwrite(file_of(folder, well), PLANE[:20, :30])

    plate, _ = read(folder)

    assert plate.shape == (40, 48)
    assert {well for well, error in run(folder, tmp_path / "out").items() if error} == {"A01", "A02"}


def halves(wells: int, odd: Callable[[int], bool], folder: Path) -> Path:
    """A plate of one row, whose odd columns have another pixel type."""
    folder.mkdir()
    for column in range(wells):
        form = PLANE[:4, :6].astype(np.uint8 if odd(column) else np.uint16)
        tifffile.imwrite(folder / f"{well_name(column // 24, column % 24)}f00d0.tif", form)
    return folder


@pytest.mark.parametrize("wells", [2, 4, 96])
@pytest.mark.parametrize("layout", ["one half of the plate", "every second column"])
def test_two_equal_halves_are_refused_and_both_named(tmp_path: Path, wells: int, layout: str) -> None:
    """However the halves lie, and on plates of which only a sample is looked at."""
    odd = (lambda column: column < wells // 2) if layout.startswith("one") else (lambda column: column % 2 == 1)
    folder = halves(wells, odd, tmp_path / "plate")

    with pytest.raises(UnreadablePlateError) as refused:
        read(folder)

    sentence = str(refused.value)
    assert "6 x 4 pixels of uint8 (the first: " in sentence and "6 x 4 pixels of uint16 (the first: " in sentence
    assert sentence.count(".tif") == 2 and "folder of their own" in sentence


def test_a_few_odd_wells_of_many_do_not_refuse_the_plate(tmp_path: Path) -> None:
    """A quarter of the wells is odd, the first row of all: the others decide."""
    plate, _ = read(halves(96, lambda column: column < 24, tmp_path / "plate"))
    assert plate.dtype == "uint16"


def test_a_plate_whose_files_are_all_stacks_is_refused(tmp_path: Path) -> None:
    """Of each file only one plane would have a place: nothing could be run."""
    folder = by_names(tmp_path / "plate", SPEC)
    for path in folder.glob("*.tif"):
        tifffile.imwrite(path, np.stack([PLANE] * 3), photometric="minisblack")

    with pytest.raises(UnreadablePlateError, match=r"hold several planes each \(the first: .*A01f00d0\.tif\).*Export"):
        read(folder)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each file's header is read from now on."""
    counts: Counter[str] = Counter()
    open_header = FolderListing.open_header

    def counting(self: FolderListing, path: str) -> Any:  # Any: whatever the original returns
        counts[path] += 1
        return open_header(self, path)

    monkeypatch.setattr(FolderListing, "open_header", counting)
    yield counts


def test_few_headers_of_a_large_plate_are_read(tmp_path: Path, opened: Counter[str]) -> None:
    """At most 25 for the plate where all agree, from all over it; at most 25 of a channel where they do not."""
    folder = by_names(tmp_path / "plate", replace(SPEC, rows=8, columns=12, channels=("DAPI", "GFP")))

    plate, _ = read(folder)
    rows = {path[0] for path in opened}

    assert not plate.warnings
    assert sum(opened.values()) <= MAX_HEADERS == 25
    assert len(rows) >= 6

    opened.clear()
    tifffile.imwrite(folder / "A01f00d0.tif", PLANE[:20, :30])
    read(folder)
    assert max(Counter(path[-5] for path in opened.elements()).values()) <= MAX_HEADERS


def test_compiling_reads_no_header(tmp_path: Path, opened: Counter[str]) -> None:
    """What reading the plate found out is enough."""
    orchestrator = PipelineOrchestrator(by_names(tmp_path / "plate", SPEC), output=tmp_path / "out").initialize()
    opened.clear()

    orchestrator.compile_pipelines(Pipeline([FunctionStep(add)]))

    assert not opened


def test_of_remote_images_parts_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers of a plate in a store are read, never its pixels; what is odd is found there, too."""
    folder = write_imagexpress(tmp_path / "plate", replace(SPEC, columns=12, shape=(400, 480)))
    odd = file_of(folder, "A01")
    tifffile.imwrite(odd, PLANE)
    url = upload(folder, "memory://plates/odd")
    shutil.rmtree(folder)
    from openhcs_engine.files import address as raw

    fetched: list[int] = []
    readinto = raw._RemoteParts.readinto

    def counting(self: Any, buffer: Any) -> int:  # Any: whatever the original takes
        fetched.append(readinto(self, buffer))
        return fetched[-1]

    monkeypatch.setattr(raw._RemoteParts, "readinto", counting)
    plate, index = read(url)

    assert plate.shape == (400, 480)
    assert any(odd.name in warning for warning in plate.warnings)
    assert sum(fetched) < sum(plane.size or 0 for plane in index) / 2


def test_the_sample_is_spread_and_always_the_same() -> None:
    """Different numbers, no stretch left out, and a small sample is the beginning of a larger one."""
    for count in (60, 96, 1_000, 34_560):
        chosen = spread(count, 25)
        assert len(set(chosen)) == 25 and all(0 <= number < count for number in chosen)
        assert chosen == spread(count, 25) and spread(count, 10) == chosen[:10]
        ordered = sorted(chosen)
        gaps = [after - before for before, after in pairwise(ordered)]
        assert max(gaps) <= count / 10
        # Odd and even columns alike.
        assert 8 <= sum(number % 2 for number in chosen) <= 17
    assert len(set(spread(26, 25))) == 25
    assert spread(3, 25) == [0, 1, 2] and spread(0, 25) == []
