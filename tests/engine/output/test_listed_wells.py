"""The plate's group lists the wells that are published, and no other: for any program that opens a whole plate."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.model.plate import Plate
from openhcs_engine.ngff.metadata import well_attributes, well_path
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.plate_group import PlateGroup, version_file
from openhcs_engine.ngff.reading.reader import open_plate
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.verify import verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.ngff_schemas import faults_of_plate, validator
from tests.engine.outputs import WELLS, list_wells, make_context, make_images
from tests.engine.plate_outputs import change, contents, prepared, published
from tests.engine.plate_readers import (
    NEWEST,
    images_of_iohub,
    images_of_models,
    images_of_ngio,
    sums_of_napari,
    sums_of_ome_zarr,
)

SITUATIONS = {"first": ("A02", "B01"), "middle": ("A01", "B01"), "last": ("A01", "A02"), "all but one": ("A02",)}
"""Published wells of A01, A02 and B01, by what is missing."""
SUMS = [sum(int(plane.sum()) for key, plane in make_images("A01").items() if key.site == site) for site in (1, 2)]
"""Of all pixels of each site's image, the same in every well."""


@dataclass(frozen=True)
class Made:
    """A plate."""

    ngff: str
    wells: tuple[str, ...]
    """Those that are published."""

    @property
    def images(self) -> dict[str, int]:
        """The sum of the pixels of each image."""
        return {f"{well_path(well)}/{place}": SUMS[place] for well in self.wells for place in (0, 1)}

    @property
    def first_images(self) -> int:
        """The sum of the pixels of the first image of each well."""
        return len(self.wells) * SUMS[0]


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for outputs that nobody else uses."""
    return str(tmp_path) if request.param == "folder" else f"memory://outputs/{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Made]:
    """A plate of each situation in each version."""
    made = {}
    for ngff in ("0.5", "0.4"):
        for wells in SITUATIONS.values():
            output = prepared(str(tmp_path_factory.mktemp("plate")), ngff=ngff)
            for well in wells:
                published(output, well, ngff=ngff)
            made[Path(output.address) / "images.zarr"] = Made(ngff, wells)
    return made


def listed(output: PlateOutput, image_set: str = "images.zarr", ngff: str = "0.5") -> dict[str, Any] | None:
    """What the group of a plate says; None without one."""
    content = contents(output).get(f"{image_set}/{version_file(ngff)}")
    found = None if content is None else json.loads(content)
    return found["attributes"] if found and ngff == "0.5" else found


def wells_of(output: PlateOutput, image_set: str = "images.zarr", ngff: str = "0.5") -> list[str]:
    """Paths of the wells that a plate lists."""
    found = listed(output, image_set, ngff)
    return [] if found is None else [well["path"] for well in found.get("ome", found)["plate"]["wells"]]


# -- what others see ---


def test_ome_zarr_shows_the_published_wells(plates: dict[Path, Made]) -> None:
    """One picture, with the first image of each; also if the first well of the plate is missing."""
    assert sums_of_ome_zarr(plates) == {str(plate): made.first_images for plate, made in plates.items()}


def test_napari_shows_the_published_wells(plates: dict[Path, Made]) -> None:
    """As one layer, by its OME-Zarr plugin."""
    assert sums_of_napari(plates) == {str(plate): made.first_images for plate, made in plates.items()}


def test_ngio_opens_every_image_of_the_published_wells(plates: dict[Path, Made]) -> None:
    """And finds no other well."""
    assert images_of_ngio(plates) == {str(plate): made.images for plate, made in plates.items()}


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_the_models_of_the_specification_accept_plate_wells_and_images(plates: dict[Path, Made], ngff: str) -> None:
    """Whatever is missing."""
    chosen = {plate: made for plate, made in plates.items() if made.ngff == ngff}
    assert images_of_models(chosen, ngff) == {str(plate): [*made.images] for plate, made in chosen.items()}


def test_the_schemas_of_the_specification_accept_every_group(plates: dict[Path, Made]) -> None:
    """Those of plates, wells and images."""
    for plate, made in plates.items():
        assert faults_of_plate(plate, made.ngff) == []


def test_the_schemas_demand_an_image_in_each_well() -> None:
    """So a well that is not published can have no group."""
    empty = well_attributes("A01", {})["ome"]
    for ngff, document in {
        "0.5": {"ome": {"version": "0.5", **empty}},
        "0.4": {"well": {**empty["well"], "version": "0.4"}},
    }.items():
        (fault,) = validator("well", ngff).iter_errors(document)
        assert fault.validator == "minItems" and fault.json_path.endswith("well.images")


@pytest.mark.readers
@pytest.mark.skipif(not NEWEST, reason="the newest readers need Python 3.12: make test-readers")
def test_the_newest_readers_open_the_published_wells(plates: dict[Path, Made]) -> None:
    """iohub every position, ome-zarr the picture of the whole plate."""
    assert images_of_iohub(plates, NEWEST) == {str(plate): made.images for plate, made in plates.items()}
    assert sums_of_ome_zarr(plates, NEWEST) == {str(plate): made.first_images for plate, made in plates.items()}


# -- what is listed ---


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_the_group_lists_what_is_published_at_each_moment(root: str, ngff: str) -> None:
    """There is none before the first well; wells are in plate order, with the rows and columns that hold them."""
    output = prepared(root, ngff=ngff)
    list_wells(output, ngff)
    assert not [path for path in contents(output) if path.startswith("images.zarr")]
    steps = {
        "B01": (["B/01"], ["B"], ["01"]),
        "A02": (["A/02", "B/01"], ["A", "B"], ["01", "02"]),
        "A01": (["A/01", "A/02", "B/01"], ["A", "B"], ["01", "02"]),
    }
    for well, expected in steps.items():
        published(output, well, ngff=ngff)
        found = listed(output, ngff=ngff)
        assert found is not None
        plate = found.get("ome", found)["plate"]
        names = [[entry["name"] for entry in plate[axis]] for axis in ("rows", "columns")]
        assert (wells_of(output, ngff=ngff), *names) == expected
        for entry in plate["wells"]:
            assert entry["path"] == f"{names[0][entry['rowIndex']]}/{names[1][entry['columnIndex']]}"
        assert (found["openhcs"]["asked"], found["openhcs"]["wells"]) == (list(WELLS), list(WELLS))
        assert verify(output.address).damaged == ()


def test_no_well_has_an_empty_list_of_images(root: str) -> None:
    """A well that is not published, or no more, has no group."""
    output = prepared(root)
    for well in WELLS:
        published(output, well)
    output.drop("A02")
    groups = [path for path in contents(output) if path.count("/") == 3 and path.endswith("zarr.json")]
    assert sorted(groups) == ["images.zarr/A/01/zarr.json", "images.zarr/B/01/zarr.json"]
    assert wells_of(output) == ["A/01", "B/01"]


def test_wells_are_listed_from_the_manifests_and_not_from_what_was_listed(root: str) -> None:
    """A list that names too many or too few, or is damaged, is put right."""
    output = prepared(root)
    published(output, "A01")
    published(output, "B01")
    right = contents(output)
    group = json.loads(right["images.zarr/zarr.json"])
    for wells in ([], [{"path": "A/02", "rowIndex": 0, "columnIndex": 0}]):
        group["attributes"]["ome"]["plate"]["wells"] = wells
        change(output, "images.zarr/zarr.json", json.dumps(group).encode())
        (damage,) = verify(output.address).damaged
        assert damage.well == "plate" and "A01, B01" in damage.reasons[0]
        assert len(damage.reasons) == (2 if wells else 1) and all("next run writes it" in r for r in damage.reasons)
        list_wells(output)
        assert contents(output) == right
    change(output, "images.zarr/zarr.json", b"{")
    list_wells(output)
    assert contents(output) == right


def test_a_well_that_a_later_run_does_not_ask_for_stays_listed(root: str) -> None:
    """Even if the raw plate has lost it; the key of asked-for wells keeps both."""
    output = prepared(root)
    for well in WELLS:
        published(output, well)
    plate: Plate = replace(make_context(Path("/results")).plate, wells=WELLS[:2])
    output.list_wells(PlateGroup.of(plate, ImageOptions(), WELLS[:2]), ["images.zarr"])
    found = listed(output)
    assert found is not None and wells_of(output) == ["A/01", "A/02", "B/01"]
    assert (found["openhcs"]["asked"], found["openhcs"]["wells"]) == (list(WELLS), list(WELLS[:2]))
    assert verify(output.address).ok
    assert output.open_images().wells == output.open_images().all_wells == WELLS


def test_runs_that_list_at_once_lose_none(root: str) -> None:
    """Each from a thread of its own, in any order: at the end all that is published is listed, by either."""
    output = prepared(root)

    def publish_some(wells: tuple[str, ...]) -> None:
        for seed in range(3):
            for well in wells:
                published(open_output(output.address), well, seed=seed, plan=str(seed), run="-".join(wells))

    runs = [threading.Thread(target=publish_some, args=(wells,)) for wells in (("A01", "B01"), ("A02",))]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert wells_of(output) == ["A/01", "A/02", "B/01"] and verify(output.address).ok


def test_a_group_of_an_earlier_version_becomes_one_of_ours(tmp_path: Path) -> None:
    """It lists all wells, each with a group, some without images: it is no damage, and the next run puts it right."""
    output = prepared(str(tmp_path))
    published(output, "A02")
    group = json.loads(contents(output)["images.zarr/zarr.json"])
    ome, own = group["attributes"]["ome"]["plate"], group["attributes"]["openhcs"]
    places = {"A01": (0, 0), "A02": (0, 1), "B01": (1, 0)}
    ome["rows"], ome["columns"] = [{"name": "A"}, {"name": "B"}], [{"name": "01"}, {"name": "02"}]
    ome["wells"] = [
        {"path": well_path(well), "rowIndex": row, "columnIndex": column} for well, (row, column) in places.items()
    ]
    group["attributes"]["openhcs"] = {name: own[name] for name in ("plate_id", "microscope", "sites", "storage")}
    empty = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    change(output, "images.zarr/zarr.json", json.dumps(group).encode())
    change(output, "images.zarr/B/zarr.json", json.dumps(empty).encode())
    for well in ("A01", "B01"):
        attributes = well_attributes(well, {})
        document = {**empty, "attributes": {**attributes, "ome": {"version": "0.5", **attributes["ome"]}}}
        change(output, f"images.zarr/{well_path(well)}/zarr.json", json.dumps(document).encode())
    report = verify(output.address)
    assert (report.damaged, report.foreign, report.missing) == ((), (), ("A01", "B01"))
    reader = open_plate(output.address)
    assert (reader.wells, reader.all_wells) == (("A02",), WELLS)

    output.sweep()
    assert wells_of(output) == ["A/02"]
    assert {path.parent.name for path in Path(output.address).glob("images.zarr/*/*") if path.is_dir()} == {"A"}
    assert open_plate(output.address).all_wells == WELLS
    assert verify(output.address).damaged == ()


# -- runs ---


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of 2 x 2 wells, the first of which has an image that is cut off."""
    spec = SyntheticPlate(rows=2, columns=2, sites=1, channels=("DAPI",), z=1, shape=(64, 64), truncated_wells=("A01",))
    return write_imagexpress(tmp_path_factory.mktemp("raw") / "plate", spec)


def run(
    raw: Path, output: Path | str, function: Callable[[np.ndarray], np.ndarray], wells: str | None = None, **more: Any
) -> Iterator[WellResult]:
    pipeline = Pipeline([FunctionStep(function)])
    orchestrator = PipelineOrchestrator(raw, output=output, runner="threads", **more).initialize()
    return orchestrator.execute(pipeline, orchestrator.compile_pipelines(pipeline, well_filter=wells), 1)


def unchanged(stack: np.ndarray) -> np.ndarray:
    return stack


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_plate_whose_first_well_failed_is_opened_whole(raw: Path, tmp_path: Path, ngff: str) -> None:
    """The failed well is asked for, and not listed."""
    results = {result.well: result for result in run(raw, tmp_path, unchanged, images=ImageOptions(ngff=ngff))}
    assert [well for well, result in results.items() if not result.success] == ["A01"]
    output = open_output(tmp_path / "plate")
    assert wells_of(output, ngff=ngff) == ["A/02", "B/01", "B/02"]
    found = listed(output, ngff=ngff)
    assert found is not None and found["openhcs"]["asked"] == ["A01", "A02", "B01", "B02"]
    assert faults_of_plate(tmp_path / "plate/images.zarr", ngff) == []
    report = verify(tmp_path / "plate")
    assert (report.missing, report.damaged, report.foreign) == (("A01",), (), ())


def test_wells_are_listed_while_their_run_goes_on(raw: Path, tmp_path: Path) -> None:
    """Those that are published; also while nobody asks the run for results."""
    group = tmp_path / "plate/images.zarr/zarr.json"

    def waits_for_the_first(stack: np.ndarray) -> np.ndarray:
        if waiting.is_set():
            for _ in range(300):
                if group.exists() and b'"path": "A/02"' in group.read_bytes():
                    return stack
                threading.Event().wait(0.1)
            raise AssertionError("the first well was not listed while the second one ran")
        waiting.set()
        return stack

    waiting = threading.Event()
    assert [result.success for result in run(raw, tmp_path, waits_for_the_first, wells="A02,B01")] == [True, True]
    assert wells_of(open_output(tmp_path / "plate")) == ["A/02", "B/01"]


def test_a_run_that_is_stopped_has_listed_what_it_published(raw: Path, tmp_path: Path) -> None:
    """Whoever closes the iterator finds a plate that can be opened."""
    results = run(raw, tmp_path, unchanged, wells="A02,B01,B02")
    first = next(results)
    results.close()
    output = PlateFolder(tmp_path / "plate", "zarr")
    assert first.well in output.wells()
    assert wells_of(output) == [well_path(well) for well in output.wells()] and verify(output.folder).damaged == ()


def test_a_run_without_a_whole_well_leaves_no_plate(raw: Path, tmp_path: Path) -> None:
    """Nothing that another program could open as one."""
    (result,) = run(raw, tmp_path, unchanged, wells="A01")
    assert not result.success and not (tmp_path / "plate/images.zarr").exists()


def test_a_run_of_other_form_takes_its_wells_from_the_list(raw: Path, tmp_path: Path) -> None:
    """What is an OME-TIFF file now is in no OME-Zarr plate."""
    assert all(result.success for result in run(raw, tmp_path, unchanged, wells="A02,B01"))
    assert all(result.success for result in run(raw, tmp_path, unchanged, wells="B01", backend="disk"))
    assert wells_of(open_output(tmp_path / "plate")) == ["A/02"]
    (result,) = run(raw, tmp_path, unchanged, wells="A02", backend="disk")
    assert result.status is WellStatus.DONE and not (tmp_path / "plate/images.zarr").exists()
    assert verify(tmp_path / "plate").damaged == ()
