"""Thumbnails, montages and overviews are drawn from previews; wells of earlier versions are given theirs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import is_preview
from openhcs_engine.output.manifest import WellManifest, manifest_to_json
from openhcs_engine.output.reading import previews
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment

SPARSE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import stack_percentile_normalize
pipeline = Pipeline([
    FunctionStep(stack_percentile_normalize, name="Stacks", variable_components=[VariableComponents.Z_INDEX]),
])
"""


def add(deployment: Deployment, backend: str = "zarr", **spec: Any) -> CatalogueEntry:
    """A plate of two wells whose images are large enough for previews."""
    plate = deployment.plate(rows=1, columns=2, **{"shape": (200, 200), **spec})
    options = RunOptions(runner="threads", workers=1, backend=backend)
    return deployment.add(plate, deployment.pipeline(f"previews_{backend}"), options=options)


def manifest_of(entry: CatalogueEntry, well: str = "A01") -> WellManifest:
    manifest = PlateFolder(entry.output_plan.folder, entry.options.backend).published(well)
    assert manifest is not None
    return manifest


def made_earlier(entry: CatalogueEntry) -> None:
    """Bring the output to what a version left that wrote no previews."""
    folder = entry.output_plan.folder
    for well in entry.wells:
        manifest = manifest_of(entry, well)
        files = tuple(file for file in manifest.files if not is_preview(file.path))
        assert files != manifest.files
        (folder / "previews" / f"{well}.npz").unlink()
        (folder / "wells" / f"{well}.json").write_bytes(manifest_to_json(replace(manifest, files=files)))


def pictures_in_dagster(deployment: Deployment) -> list[str]:
    """What the wells' newest events show."""
    records = deployment.instance.fetch_materializations(PlateKeys("P001").wells, limit=2).records
    materializations = [record.asset_materialization for record in records]
    return [str(each.metadata["preview"].value) for each in materializations if each is not None]


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read an image for a picture is an error."""

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(previews, "preview_of_images", refuse)
    monkeypatch.setattr("openhcs_engine.ngff.reading.lazy_array.open_array", refuse)
    monkeypatch.setattr("openhcs_engine.output.reading.tiff_reader.open_tiff_well", refuse)


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_thumbnail_montage_and_overview_read_no_image(deployment: Deployment, backend: str, no_images: None) -> None:
    """Whatever wrote the wells, and whether they are computed or recorded again."""
    entry = add(deployment, backend)
    for _ in range(2):
        run = deployment.run(entry)
        page = Path(run.report or "").read_text()
        assert "<h2>DAPI</h2>" in page and "<h2>GFP</h2>" in page
        assert (entry.output_plan.folder / "report" / "overview.zarr").exists() == (backend == "zarr")
        assert all(re.match(r"!\[DAPI, GFP\]\(data:image/png", text) for text in pictures_in_dagster(deployment))


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_a_well_of_an_earlier_version_gets_its_preview_when_it_is_recorded_again(
    deployment: Deployment, backend: str, request: pytest.FixtureRequest
) -> None:
    """The one that it would have now; it is not computed, and its picture is the same."""
    entry = add(deployment, backend)
    deployment.run(entry)
    now, shown = {well: manifest_of(entry, well) for well in entry.wells}, pictures_in_dagster(deployment)
    made_earlier(entry)

    deployment.run(entry)

    assert {str(each.status) for each in OutcomeLog(entry.output_plan.folder).latest().values()} == {"unchanged"}
    for well, manifest in now.items():
        after = manifest_of(entry, well)
        assert replace(after, files=()) == replace(manifest, files=()) and set(after.files) == set(manifest.files)
    assert verify(entry.output_plan.folder).ok and not verify(entry.output_plan.folder).foreign
    assert len(shown) == len(pictures_in_dagster(deployment)) == 2
    request.getfixturevalue("no_images")
    deployment.run(entry)


def test_a_preview_that_cannot_be_written_is_told_of(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wells are recorded with their pictures, and stay as they were."""
    entry = add(deployment)
    deployment.run(entry)
    made_earlier(entry)
    before = manifest_of(entry)

    def full(self: PlateFolder, manifest: WellManifest, content: bytes) -> None:
        raise OutputPlaceError("there is no space left", path=str(self.folder))

    monkeypatch.setattr(PlateFolder, "add_preview", full)
    deployment.run(entry)

    assert manifest_of(entry) == before
    assert all(text.startswith("![DAPI, GFP]") for text in pictures_in_dagster(deployment))
    runs = deployment.instance.get_run_ids()
    said = [record.user_message for run_id in runs for record in deployment.instance.all_logs(run_id)]
    assert [text for text in said if "have none yet: there is no space left" in text]


@pytest.mark.parametrize("earlier", [False, True])
def test_no_whole_well_is_without_a_picture(deployment: Deployment, earlier: bool) -> None:
    """Its middle plane is missing at one site and channel; the others that it has are shown."""
    plate = deployment.plate(rows=1, columns=1, z=3, shape=(200, 200))
    next(plate.rglob("ZStep_2/*_A01_s1_w1.tif")).unlink()
    options = RunOptions(runner="threads", workers=1, on_missing="skip")
    entry = deployment.add(plate, deployment.pipeline("gaps", text=SPARSE), options=options)
    deployment.run(entry)
    if earlier:
        made_earlier(entry)
        deployment.run(entry)

    text, *_ = pictures_in_dagster(deployment)
    assert text.startswith("![DAPI, GFP](data:image/png")
    page = Path(deployment.run(entry).report or "").read_text()
    assert "<h2>DAPI</h2>" in page and "<h2>GFP</h2>" in page


def test_a_damaged_well_is_told_of_and_not_shown(deployment: Deployment) -> None:
    """A picture of a well that is not whole would be believed."""
    entry = add(deployment)
    deployment.run(entry)
    folder = entry.output_plan.folder
    made_earlier(entry)
    for shard in (folder / "images.zarr" / "A" / "01").rglob("c.0.0.0.0.0"):
        shard.write_bytes(np.random.default_rng(0).bytes(shard.stat().st_size))

    deployment.run(entry, "A01")

    told = [text for text in pictures_in_dagster(deployment) if "No picture" in text]
    assert len(told) == 1 and "c.0.0.0.0.0" in told[0]


def test_the_folder_of_previews_may_not_be_a_link(deployment: Deployment, tmp_path: Path) -> None:
    """The run is refused, and nothing is written through it."""
    entry = add(deployment)
    (tmp_path / "elsewhere").mkdir()
    entry.output_plan.folder.mkdir(parents=True)
    (entry.output_plan.folder / "previews").symlink_to(tmp_path / "elsewhere")

    run = deployment.run(entry)

    assert run.refusal is not None and "previews is a link" in run.refusal
    assert not list((tmp_path / "elsewhere").iterdir())
