"""Plates behind URLs as assets: registered, compiled, run and reported as those in folders are."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

from openhcs_dagster.catalogue.registration import register
from openhcs_dagster.keys import PlateKeys
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.synthetic import SyntheticPlate, write_ome_zarr
from tests.dagster.deployments import Deployment
from tests.object_store import upload


def remote_root(protocol: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Where plates can be put behind a URL of one kind."""
    if protocol == "s3":
        return str(request.getfixturevalue("bucket"))
    return f"file://{folder}" if protocol == "file" else "memory://plates"


@pytest.mark.parametrize("protocol", ["file", "memory", "s3"])
def test_a_remote_plate_goes_through_its_graph(
    deployment: Deployment, request: pytest.FixtureRequest, tmp_path: Path, protocol: str
) -> None:
    """All wells are published with the pixels of the same plate in a folder, and the report is made."""
    folder = deployment.plate("P001")
    url = upload(folder, f"{remote_root(protocol, request, tmp_path)}/{protocol}_P001")
    pipeline = deployment.pipeline("remote")

    remote = deployment.add(url, pipeline)
    run = deployment.run(remote)
    local = deployment.add(folder, pipeline)
    deployment.run(local)

    assert remote.id == f"{protocol}_P001"
    assert run.refusal is None and not run.failed and len(run.outcomes) == 6
    assert run.report is not None and Path(run.report).is_file()
    made, known = (open_plate(entry.output_plan.folder / "images.zarr") for entry in (remote, local))
    for well in remote.wells:
        assert np.array_equal(np.asarray(made[well][1].array()), np.asarray(known[well][1].array()))


def test_a_remote_plate_that_grew_renews_its_entry(deployment: Deployment) -> None:
    """As a folder does: its known wells go on, and the catalogue has the new ones."""
    folder = deployment.plate("P001")
    url = upload(folder, "memory://grown/P001")
    files, place = fsspec.core.url_to_fs(url)
    entry = deployment.add(url, deployment.pipeline("grown"))
    (first, *_) = [path for path in files.find(place) if "_A01_" in path]

    files.pipe_file(first.replace("_A01_", "_C01_"), files.cat_file(first))
    run = deployment.run(entry)

    assert run.refusal is None and {outcome.status for outcome in run.outcomes} == {"done"}
    listed = deployment.instance.get_latest_materialization_event(PlateKeys("P001").index)
    assert listed is not None and listed.asset_materialization is not None
    assert "7 wells, but 6 are registered" in str(listed.asset_materialization.metadata["new wells"].value)
    assert "C01" in deployment.catalogue.read("P001").wells


def test_a_remote_plate_that_is_gone_is_a_sentence(deployment: Deployment) -> None:
    """The refusal names the URL."""
    url = upload(deployment.plate("P001"), "memory://gone/P001")
    entry = deployment.add(url, deployment.pipeline("gone"))
    files, place = fsspec.core.url_to_fs(url)

    files.rm(place, recursive=True)
    run = deployment.run(entry)

    assert run.refusal is not None and "memory://gone/P001" in run.refusal


def test_an_ome_zarr_plate_in_s3_goes_through_its_graph(deployment: Deployment, bucket: str, tmp_path: Path) -> None:
    """A slash at the URL's end changes nothing."""
    spec = SyntheticPlate(name="z", rows=1, columns=2, sites=1, z=2, shape=(40, 48))
    url = upload(write_ome_zarr(tmp_path / "z.zarr", spec), f"{bucket}/graph/z.zarr")

    entry = register(
        deployment.catalogue,
        url + "/",
        pipeline=deployment.pipeline("zarr_in_s3"),
        output=deployment.root / "out",
        search_path=[deployment.root / "lab"],
    )
    run = deployment.run(entry)

    assert (entry.id, entry.wells) == ("z", ("A01", "A02"))
    assert run.refusal is None and not run.failed and run.report is not None
