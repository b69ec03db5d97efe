"""Chunks and shards of OME-Zarr inputs: rewritten, late or absent ones are never taken for what was there before."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.cli.plate import inspection
from openhcs_engine.errors import ContextFileError, PlateError
from openhcs_engine.execution.run import execute_wells
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.wells import well_name
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.diff import compare_plans
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json, packed
from openhcs_engine.raw.array_listing import ArrayListing, ListedFolder
from openhcs_engine.raw.chunk_grid import chunk_grid
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.engine.plates import add

ADD = Pipeline([FunctionStep(add)])
SPEC = SyntheticPlate(name="raw", rows=1, columns=2, sites=1, z=2, shape=(40, 48), objects_per_megapixel=2000)


@dataclass(frozen=True)
class Layout:
    """How an array of 4 x 6 pixels in four chunks lies on disk."""

    name: str
    options: dict[str, Any]
    first: str
    """Its first chunk, or shard."""


LAYOUTS = [
    Layout("v2 with dots", {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}}, "0.0"),
    Layout("v2 with slashes", {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}, "0/0"),
    Layout("v3", {"zarr_format": 3}, "c/0/0"),
    Layout("v3 with dots", {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}}, "c.0.0"),
    Layout("v3 named as v2", {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "/"}}, "0/0"),
    Layout("v3 in shards", {"zarr_format": 3, "shards": (2, 3), "chunks": (1, 3)}, "c/0/0"),
]
of_any_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def write_array(folder: Path, layout: Layout) -> Path:
    """An array with every chunk stored; returns the first of them."""
    options = {"chunks": (2, 3), "compressors": None, **layout.options}
    zarr.create_array(str(folder), shape=(4, 6), dtype="uint16", **options)[:] = 7
    return folder / layout.first


def listed(folder: Path) -> Any:  # Any: StoredArray, whose digest is compared
    """What is stored of the array in a folder, listed anew."""
    return ArrayListing(str(folder.parent)).of(folder.name)


def rewrite_in_place(chunk: Path, later_ns: int = 10**9) -> None:
    """Other bytes of the same number, the file's time later, its folder's as it was."""
    folder = chunk.parent.stat()
    before = chunk.stat()
    with chunk.open("r+b") as file:
        file.write(b"\x09")
    os.utime(chunk, ns=(before.st_atime_ns, before.st_mtime_ns + later_ns))
    assert chunk.parent.stat().st_mtime_ns == folder.st_mtime_ns


@of_any_layout
def test_all_chunks_are_counted_whatever_they_are_called(tmp_path: Path, layout: Layout) -> None:
    """Both versions of zarr, both separators, shards: four of four are stored."""
    write_array(tmp_path / "array", layout)
    array = listed(tmp_path / "array")
    assert array.grid is not None
    assert (array.chunks, array.grid.count, array.is_partial) == (4, 4, False)


@of_any_layout
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("rewritten in place", rewrite_in_place),
        ("gone", Path.unlink),
        ("longer", lambda chunk: chunk.write_bytes(chunk.read_bytes() + b"0")),
        ("copied back with an older time", lambda chunk: rewrite_in_place(chunk, -(10**12))),
    ],
)
def test_a_chunk_that_changed_is_another_digest(
    tmp_path: Path, layout: Layout, what: str, change: Callable[[Path], object]
) -> None:
    """Its name, size and time are in the digest; what was not touched gives the same again."""
    chunk = write_array(tmp_path / "array", layout)
    before = listed(tmp_path / "array").digest
    assert listed(tmp_path / "array").digest == before
    change(chunk)
    assert listed(tmp_path / "array").digest != before


def test_two_chunks_that_change_places_are_another_digest(tmp_path: Path) -> None:
    """The sum of sizes and the newest time would not tell."""
    chunk = write_array(tmp_path / "array", LAYOUTS[1])
    other = chunk.with_name("1")
    other.write_bytes(other.read_bytes()[:-2])
    before = listed(tmp_path / "array").digest
    chunk.rename(chunk.with_name("2"))
    other.rename(chunk)
    chunk.with_name("2").rename(other)
    assert listed(tmp_path / "array").digest != before


@of_any_layout
def test_what_is_no_chunk_does_not_count(tmp_path: Path, layout: Layout) -> None:
    """Files of a file manager or of a copy under way make nothing stale."""
    chunk = write_array(tmp_path / "array", layout)
    before = listed(tmp_path / "array").digest
    for name in (".DS_Store", "0.part", f".{chunk.name}.tmp", "Thumbs.db", "1" * 40 + "x"):
        (chunk.parent / name).write_bytes(b"?")
    assert listed(tmp_path / "array") == listed(tmp_path / "array")
    assert listed(tmp_path / "array").digest == before


@of_any_layout
def test_chunks_that_are_not_stored_are_named_by_their_keys(tmp_path: Path, layout: Layout) -> None:
    """How many of how many, which, and what they read as."""
    write_array(tmp_path / "array", layout).unlink()
    arrays = ArrayListing(str(tmp_path))
    arrays.of("array")
    (sentence,) = arrays.unstored_parts()
    assert f"1 of 4 chunks of array ({layout.first}) is not stored, and it reads as 0" in sentence


def test_arrays_without_any_gap_need_no_sentence(tmp_path: Path) -> None:
    """Silence is for success; an array without any chunk has a sentence of its own when the plate is read."""
    write_array(tmp_path / "whole", LAYOUTS[2])
    shutil.rmtree(write_array(tmp_path / "hollow", LAYOUTS[2]).parent.parent)
    arrays = ArrayListing(str(tmp_path))
    assert arrays.of("whole").chunks == 4
    assert arrays.of("hollow").chunks == 0
    assert arrays.unstored_parts() == ()


def test_links_in_circles_end(tmp_path: Path) -> None:
    """A folder that leads to itself is no reason to list for ever."""
    write_array(tmp_path / "array", LAYOUTS[1])
    (tmp_path / "array/0/5").symlink_to(tmp_path / "array/0", target_is_directory=True)
    assert listed(tmp_path / "array").chunks > 0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b'{"shape": [4], "chunks": [0]}',
        b'{"shape": [4, 4], "chunks": [2]}',
        b'{"shape": ["4"], "chunks": [2]}',
    ],
)
def test_a_damaged_grid_is_unknown(document: bytes) -> None:
    """Reading the array will tell what is wrong with it; nothing is claimed of its chunks."""
    assert chunk_grid(document, 2) is None
    assert chunk_grid(document, 3) is None


class Remembered:
    """A FolderMemory that knows what it was told last."""

    def __init__(self) -> None:
        self.folders: dict[str, ListedFolder] = {}

    def recall(self, path: str, mtime_ns: int) -> ListedFolder | None:
        folder = self.folders.get(path)
        return folder if folder is not None and folder.mtime_ns == mtime_ns else None

    def keep(self, path: str, folder: ListedFolder) -> None:
        self.folders[path] = folder


@of_any_layout
def test_folders_of_the_same_time_are_passed_over(tmp_path: Path, layout: Layout, scanned: list[str]) -> None:
    """The digest is that of a whole listing; none is scanned but the one in which a chunk came or went."""
    chunk = write_array(tmp_path / "array", layout)
    memory = Remembered()
    whole = ArrayListing(str(tmp_path), memory).of("array").digest
    scanned.clear()
    assert ArrayListing(str(tmp_path), memory).of("array").digest == whole
    assert scanned == []
    chunk.unlink()
    late = ArrayListing(str(tmp_path), memory).of("array").digest
    assert scanned == [str(chunk.parent)]
    assert late == listed(tmp_path / "array").digest != whole


# Plates


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every folder that is scanned."""
    paths: list[str] = []
    scan = os.scandir

    def noting(path: Any = ".") -> Any:  # Any: as the original
        paths.append(str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", noting)
    return paths


@pytest.fixture(params=["0.5", "0.4"])
def plate(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two wells of one site."""
    return write_ome_zarr(tmp_path / "raw", SPEC, request.param)


def chunks_of(array: Path) -> list[Path]:
    """Its chunks, in order."""
    return sorted(path for path in array.rglob("*") if path.is_file() and path.name.isdigit())


def compiled(plate: Path, well_filter: str | None = None) -> dict[str, ProcessingContext]:
    """Contexts of the plate as it is now."""
    return PipelineOrchestrator(plate).initialize().compile_pipelines(ADD, well_filter)


def stale(before: dict[str, ProcessingContext], after: dict[str, ProcessingContext]) -> set[str]:
    """Wells whose fingerprints differ."""
    return {well for well in before if before[well].fingerprint != after[well].fingerprint}


def test_a_chunk_that_is_rewritten_in_place_makes_its_well_stale_and_no_other(plate: Path) -> None:
    """Its folder's time stays, and the array's metadata; compiling sees it all the same."""
    before = compiled(plate)
    rewrite_in_place(chunks_of(plate / "A/02/0/0")[0])
    after = compiled(plate)
    assert stale(before, after) == {"A02"}
    (group,) = compare_plans(before, after).stale
    assert "1 array with chunks that were written again" in str(group)


def test_smaller_levels_and_labels_make_nothing_stale(plate: Path) -> None:
    """What is not read does not count: a viewer may make a pyramid anew."""
    before = compiled(plate)
    rewrite_in_place(chunks_of(plate / "A/01/0/1")[0])
    shutil.copytree(plate / "A/01/0/1", plate / "A/01/0/labels/nuclei/0")
    assert stale(before, compiled(plate)) == set()


def test_late_pixels_make_their_well_stale(plate: Path) -> None:
    """A chunk that comes after the plan, too, where the well was read without it."""
    late = chunks_of(plate / "A/01/0/0")[1]
    content = late.read_bytes()
    late.unlink()
    before = compiled(plate)
    late.write_bytes(content)
    assert stale(before, compiled(plate)) == {"A01"}


def test_compiling_twice_looks_twice(plate: Path) -> None:
    """An orchestrator that read its plate long ago compiles what is there now."""
    orchestrator = PipelineOrchestrator(plate).initialize()
    before = orchestrator.compile_pipelines(ADD)
    rewrite_in_place(chunks_of(plate / "A/01/0/0")[0])
    assert stale(before, orchestrator.compile_pipelines(ADD)) == {"A01"}


def test_compiling_lists_each_folder_once(plate: Path, scanned: list[str]) -> None:
    """One listing, and of the wells that are asked for alone."""
    compiled(plate, "A02")
    chunk_folders = [path for path in scanned if f"{plate}/A/02/0/0" in path]
    counted = Counter(chunk_folders)
    assert counted.pop(f"{plate}/A/02/0/0") == 2  # once to see what it is, once for its chunks
    assert counted
    assert set(counted.values()) == {1}
    assert not any(path.startswith(f"{plate}/A/01/0/0/") for path in scanned)


def run(contexts: dict[str, ProcessingContext]) -> dict[str, str]:
    """Status of each well."""
    return {result.well: result.status.value for result in execute_wells(contexts, runner="threads", workers=1)}


def test_a_run_of_an_old_plan_calls_no_rewritten_well_unchanged(plate: Path, tmp_path: Path) -> None:
    """As a backfill has it: the wells' chunks are looked at, and the manifest has the fingerprint of what was read."""
    contexts = PipelineOrchestrator(plate, output=tmp_path / "out").initialize().compile_pipelines(ADD)
    assert run(contexts) == {"A01": "done", "A02": "done"}
    array = zarr.open_array(str(plate / "A/02/0/0"), mode="r+")
    array[:] = 300
    assert run(contexts) == {"A01": "unchanged", "A02": "done"}
    now = PipelineOrchestrator(plate, output=tmp_path / "out").initialize().compile_pipelines(ADD)
    assert run(now) == {"A01": "unchanged", "A02": "unchanged"}
    result = zarr.open_array(str(tmp_path / "out/raw/images.zarr/A/02/0/0"), mode="r")
    assert set(np.unique(result[:])) == {301}


def test_a_part_that_is_not_stored_is_named_and_recorded(plate: Path, tmp_path: Path) -> None:
    """By inspect, by the plan, by the well's result, and in its manifest."""
    chunks_of(plate / "A/01/0/0")[0].unlink()
    orchestrator = PipelineOrchestrator(plate, output=tmp_path / "out", runner="threads").initialize()
    (told,) = orchestrator.unstored_parts()
    assert told.startswith("Parts of these arrays are not stored: 1 of 4 chunks of A/01/0/0 (")

    contexts = orchestrator.compile_pipelines(ADD)
    results = orchestrator.execute_compiled_plate(ADD, contexts, max_workers=1)

    assert contexts["A01"].plate.warnings == (told,)
    assert told in results["A01"].notes
    assert results["A02"].notes == ()
    manifest = read_manifest(tmp_path / "out/raw/wells/A01.json")
    assert manifest is not None
    assert manifest.provenance["unstored"] == (told,)
    assert manifest.raw[0].chunks == contexts["A01"].index.planes[0].chunks != ""


def test_an_array_that_vanished_is_named(plate: Path) -> None:
    """As an image file that is gone."""
    orchestrator = PipelineOrchestrator(plate).initialize()
    shutil.rmtree(plate / "A/01/0/0")
    with pytest.raises(PlateError, match=r"^A/01/0/0 is gone: it was in .* when the plate was read\."):
        orchestrator.compile_pipelines(ADD)


# Plates behind a URL


@pytest.fixture
def url(plate: Path) -> Iterator[str]:
    """The plate in memory://."""
    files = fsspec.filesystem("memory")
    files.put(str(plate), "/listing/raw", recursive=True)
    yield "memory://listing/raw"
    files.rm("/listing", recursive=True)


def test_a_plate_behind_a_url_is_followed_alike(url: str, plate: Path) -> None:
    """A chunk that is put again makes its well stale; one that is gone is named; both by the one listing."""
    files = fsspec.filesystem("memory")
    before = compiled(url)  # type: ignore[arg-type] # an address
    chunk = chunks_of(plate / "A/02/0/0")[0].relative_to(plate)
    files.pipe_file(f"/listing/raw/{chunk}", b"other")
    after = compiled(url)  # type: ignore[arg-type] # as above
    assert stale(before, after) == {"A02"}
    files.rm_file(f"/listing/raw/{chunk}")
    found, index = detect_microscope(url).read_plate()
    assert "1 of 4 chunks of A/02/0/0 (" in found.warnings[0]
    assert inspection(found, index)["warnings"] == found.warnings


def test_a_run_of_an_old_plan_looks_behind_the_url(url: str, plate: Path, tmp_path: Path) -> None:
    """A backfill of a plate in a bucket lists it anew."""
    contexts = PipelineOrchestrator(url, output=tmp_path / "out").initialize().compile_pipelines(ADD)
    run(contexts)
    chunk = chunks_of(plate / "A/02/0/0")[0]
    other = chunks_of(plate / "A/01/0/0")[0]
    fsspec.filesystem("memory").pipe_file(f"/listing/raw/{chunk.relative_to(plate)}", other.read_bytes())
    assert run(contexts) == {"A01": "unchanged", "A02": "done"}


# Plans


def planes_of_arrays(wells: int, planes: int) -> dict[str, ImageIndex]:
    """A plate of which every plane is an array of its own: the most digests that a plan can have."""
    numbers = np.random.default_rng(0)
    found = {}
    for number in range(wells):
        well = well_name(number // 48, number % 48)
        times = 1_790_000_000_000_000_000 + np.cumsum(numbers.integers(10**5, 10**7, planes)) + number * 10**9
        found[well] = ImageIndex(
            tuple(
                ImagePlane(
                    key=ImageKey(well, site + 1, 1, 1, 1),
                    path=f"{well[:-2]}/{well[-2:]}/{site}/0",
                    size=300,
                    mtime_ns=int(times[site]),
                    array_index=(0, 0, 0),
                    chunks="".join(chr(ord("a") + digit) for digit in numbers.integers(0, 26, 10)),
                )
                for site in range(planes)
            )
        )
    return found


def test_a_plan_says_one_digest_an_array_in_few_bytes(plate: Path) -> None:
    """Even where each plane is an array of its own, 1,536 wells of 36 take less than 1 MB."""
    context = compiled(plate)["A01"]
    contexts = {}
    for well, index in planes_of_arrays(1536, 36).items():
        contexts[well] = ProcessingContext(
            well=well, plate=context.plate, steps=context.steps, index=index, output=context.output,
            versions=context.versions, pipeline_digest=context.pipeline_digest,
        )  # fmt: skip
    document = packed(contexts_to_json(contexts))
    assert len(document) <= 1_000_000
    assert contexts_from_json(document) == contexts


def test_plans_keep_the_digests_and_refuse_broken_ones(plate: Path) -> None:
    """What was written comes back; a document with another digest, or short of one, is refused."""
    contexts = compiled(plate)
    document = json.loads(contexts_to_json(contexts))
    assert contexts_from_json(json.dumps(document).encode()) == contexts
    chunks = document["index"]["chunks"]
    for changed, sentence in (([*chunks[:-1], "other"], "A02 do not match"), (chunks[1:], "the column chunks has")):
        document["index"]["chunks"] = changed
        with pytest.raises(ContextFileError, match=sentence):
            contexts_from_json(json.dumps(document).encode())
