"""Raw plates behind URLs: the same planes and pixels as from a folder."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import NotAPlateError, UnreadablePlateError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.engine.plates import add
from tests.object_store import upload

ADD = Pipeline([FunctionStep(add)])


def shown(folder: str | Path) -> list[tuple[object, ...]]:
    """The plane table without times."""
    plate, index = detect_microscope(folder).read_plate()
    return [(plane.key, plane.path, plane.kind, plane.size) for plane in stamp(index, plate.root)]


@pytest.mark.parametrize("protocol", ["file", "memory", "s3"])
def test_a_plate_behind_a_url_has_the_same_planes(
    small_plate: Path, request: pytest.FixtureRequest, protocol: str
) -> None:
    """Paths, sizes, kinds and metadata equal those of the folder."""
    if protocol == "file":
        url = f"file://{small_plate}"
    else:
        root = request.getfixturevalue("bucket") if protocol == "s3" else "memory://plates"
        url = upload(small_plate, f"{root}/{protocol}-listing")

    assert shown(url) == shown(small_plate)
    remote, _ = detect_microscope(url).read_plate()
    local, _ = detect_microscope(small_plate).read_plate()
    assert (remote.channels, remote.pixel_size_um, remote.grid) == (local.channels, local.pixel_size_um, local.grid)


def test_worker_processes_read_from_s3(small_plate: Path, bucket: str, tmp_path: Path) -> None:
    """The published pixels equal those of the same plate in a folder; nothing is written to the bucket."""
    url = upload(small_plate, f"{bucket}/small")
    files = fsspec.filesystem("s3")
    before = files.find("plates/small", detail=False)

    for plate, output in ((url, "remote"), (small_plate, "local")):
        orchestrator = PipelineOrchestrator(plate, output=tmp_path / output).initialize()
        contexts = orchestrator.compile_pipelines(ADD, well_filter="A01,B02")
        results = orchestrator.execute_compiled_plate(ADD, contexts, max_workers=2)
        assert {well: result.error for well, result in results.items()} == {"A01": None, "B02": None}

    remote, local = (open_plate(tmp_path / output / "small" / "images.zarr") for output in ("remote", "local"))
    for well in ("A01", "B02"):
        assert np.array_equal(np.asarray(remote[well][2].array()), np.asarray(local[well][2].array()))
    assert files.find("plates/small", detail=False) == before


def test_an_ome_zarr_plate_in_s3_is_an_input(bucket: str, tmp_path: Path) -> None:
    """Its arrays are read plane by plane; chunks are not taken for images."""
    spec = SyntheticPlate(name="zarr", rows=1, columns=1, sites=1, z=2, shape=(40, 48))
    folder = write_ome_zarr(tmp_path / "zarr", spec)
    url = upload(folder, f"{bucket}/zarr")

    orchestrator = PipelineOrchestrator(url, output=tmp_path / "out", runner="threads").initialize()
    results = orchestrator.execute_compiled_plate(ADD, orchestrator.compile_pipelines(ADD), max_workers=1)

    assert results["A01"].error is None
    assert shown(url) == shown(folder)


def test_places_without_a_plate_are_refused(bucket: str) -> None:
    """An empty place, a bucket that does not exist, an unknown protocol: a sentence with the URL."""
    with pytest.raises(NotAPlateError, match="s3://plates/nothing"):
        detect_microscope("s3://plates/nothing")
    with pytest.raises((NotAPlateError, UnreadablePlateError), match="s3://no-such-bucket/plate"):
        detect_microscope("s3://no-such-bucket/plate")
    with pytest.raises(Exception, match="carrier://pigeon"):
        detect_microscope("carrier://pigeon")
