"""The lazy reader of a plate's wells: what a user's own asset is given."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import tifffile

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_engine.errors import MissingKeyError, PlaneMismatchError, PlaneReadError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.output.manifest import manifest_to_json, read_manifest
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.output.reading.tiff_reader import open_tiff_well
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment

REPO = Path(__file__).resolve().parent.parent.parent
STACKS = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import stack_percentile_normalize
pipeline = Pipeline([
    FunctionStep(stack_percentile_normalize, name="Stacks", variable_components=[VariableComponents.Z_INDEX]),
])
"""
SELECTIONS = (
    np.s_[0],
    np.s_[0, 1],
    np.s_[0, 1, 1],
    np.s_[0, :, 1, 10:20, ::2],
    np.s_[..., 5],
    np.s_[:, -1, ..., -8:],
    np.s_[0, 1, ::-1],
    np.s_[:, 1:1],
    np.s_[0, 0, 0, 3, 4],
    np.s_[...],
)


@pytest.fixture(params=["zarr", "disk"])
def entry(deployment: Deployment, request: pytest.FixtureRequest) -> CatalogueEntry:
    """A plate that was run; its wells have two channels and two z."""
    options = RunOptions(runner="threads", workers=1, backend=request.param)
    entry = deployment.add(deployment.plate(), deployment.pipeline("stacks", text=STACKS), options=options)
    deployment.run(entry, "B01", "A02")
    return entry


def wells_of(entry: CatalogueEntry) -> PlateWells:
    return PlateWells(entry.output_plan.folder, entry.options.backend)


def test_wells_come_in_plate_order_and_slice_like_arrays(entry: CatalogueEntry) -> None:
    """Well → field → pixels (t, c, z, y, x): every part equals that of the whole array."""
    wells = wells_of(entry)
    field = next(iter(wells["B01"].values()))

    whole = field[...]

    assert list(wells) == ["A02", "B01"]
    assert field.shape == whole.shape == (1, 2, 2, 64, 64)
    assert field.dtype == whole.dtype == np.uint16
    assert len(np.unique(whole)) > 100
    for selection in SELECTIONS:
        np.testing.assert_array_equal(field[selection], whole[selection])
        np.testing.assert_array_equal(field.array()[selection], whole[selection])
    np.testing.assert_array_equal(np.asarray(field), whole)
    assert (len(field.array()), field.array().ndim) == (1, 5)


@pytest.mark.parametrize("selection", [np.s_[0, 0, 0, 0, 0, 0], np.s_[0, 7], np.s_[..., ...], "A01", np.s_[[0, 1]]])
def test_a_selection_that_cannot_be_is_an_index_error(entry: CatalogueEntry, selection: Any) -> None:
    """Beyond an axis, too many axes, two '...', or anything but integers and slices."""
    field = next(iter(wells_of(entry)["B01"].values()))

    with pytest.raises(IndexError):
        field[selection]


def test_no_pixel_is_read_before_it_is_asked_for(deployment: Deployment) -> None:
    """With one file a channel left, all that needs no pixel still works, and so do the planes of those files."""
    options = RunOptions(runner="threads", workers=1, backend="disk")
    entry = deployment.add(deployment.plate(), deployment.pipeline("lazy", text=STACKS), options=options)
    deployment.run(entry, "B01")
    field = next(iter(wells_of(entry)["B01"].values()))
    first, *_, last = planes = sorted((entry.output_plan.folder / "images" / "B01").glob("*.tif"))
    expected = tifffile.imread(first)
    for path in planes:
        if "_z1_" not in path.name:
            path.unlink()

    assert field.shape == (1, 2, 2, 64, 64) and not last.exists()
    np.testing.assert_array_equal(field[0, 0, 0], expected)
    with pytest.raises(PlaneReadError):
        field[0, 0]


def test_planes_that_do_not_exist_are_masked(tmp_path: Path) -> None:
    """An array of files with a hole is masked there, whatever part of it is asked for, and refuses to be plain."""
    for channel, z in ((1, 1), (1, 2), (2, 1)):
        name = tmp_path / f"B03_s1_w{channel}_z{z}_t1.ome.tif"
        tifffile.imwrite(name, np.full((4, 6), 10 * channel + z, np.uint16))

    array = open_tiff_well(tmp_path)[1].array()

    whole = array[...]
    assert isinstance(whole, np.ma.MaskedArray)
    assert whole.mask[0].all(axis=(-1, -2)).tolist() == [[False, False], [False, True]]
    assert whole.dtype == array[0, 1, 1].dtype == np.uint16
    assert array[0, 1, 1, :2].mask.all()
    assert not np.ma.isMaskedArray(array[0, 0])
    with pytest.raises(PlaneReadError, match="planes that do not exist"):
        np.asarray(array)


def test_channels_of_different_types_share_one_that_holds_both(tmp_path: Path) -> None:
    """A mask of 8 bits beside a camera's channel: each plane has its own values, alone and together."""
    tifffile.imwrite(tmp_path / "B03_s1_w1_z1_t1.ome.tif", np.full((4, 6), 7, np.uint8))
    tifffile.imwrite(tmp_path / "B03_s1_w2_z1_t1.ome.tif", np.full((4, 6), 60_000, np.uint16))

    field = open_tiff_well(tmp_path)[1]

    assert field.dtype == np.uint16
    np.testing.assert_array_equal(field[0, :, 0, 0, 0], [7, 60_000])
    assert field[0, 0, 0].max() == 7


def test_a_file_that_was_cut_off_is_an_error_and_not_black(tmp_path: Path) -> None:
    """Whichever part of it is asked for."""
    path = tmp_path / "B03_s1_w1_z1_t1.ome.tif"
    tifffile.imwrite(tmp_path / "B03_s1_w1_z2_t1.ome.tif", np.ones((40, 60), np.uint16))
    tifffile.imwrite(path, np.ones((40, 60), np.uint16))
    field = open_tiff_well(tmp_path)[1]
    assert field.shape == (1, 1, 2, 40, 60)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(PlaneReadError, match="cut off"):
        open_tiff_well(tmp_path)[1][0, 0, 0, :2]


def test_planes_of_different_sizes_are_refused_by_name(tmp_path: Path) -> None:
    """No array holds both; the sentence names the file."""
    tifffile.imwrite(tmp_path / "B03_s1_w1_z1_t1.ome.tif", np.ones((4, 6), np.uint16))
    tifffile.imwrite(tmp_path / "B03_s1_w2_z1_t1.ome.tif", np.ones((5, 6), np.uint16))

    with pytest.raises(PlaneMismatchError, match=r"B03_s1_w2_z1_t1.*\(5, 6\) pixels"):
        open_tiff_well(tmp_path)[1][...]


@pytest.mark.parametrize("name", ["a & b", '<"x">', "it's", "µ 漢字 😀", "&amp;"])
def test_channels_have_the_names_that_were_written(tmp_path: Path, name: str) -> None:
    """Whatever letters of XML they hold."""
    plane = np.ones((4, 6), np.uint16)
    metadata = {"axes": "YX", "Channel": {"Name": name}}
    tifffile.imwrite(tmp_path / "B03_s1_w1_z1_t1.ome.tif", plane, ome=True, metadata=metadata)

    assert open_tiff_well(tmp_path)[1].channel_labels == (name,)


def test_tables_of_all_wells_are_one_frame(entry: CatalogueEntry) -> None:
    """Tables that manifests list are joined in plate order, with their well; others are not there."""
    folder = entry.output_plan.folder
    for well, areas in (("A02", [1.0, 2.0]), ("B01", [3.0])):
        (folder / "tables" / "nuclei").mkdir(parents=True, exist_ok=True)
        file = folder / "tables" / "nuclei" / f"{well}.parquet"
        polars.DataFrame({"area": areas}).write_parquet(file)
        _list_file(folder, well, file)
    (folder / "tables" / "debris").mkdir()
    polars.DataFrame({"area": [9.0]}).write_parquet(folder / "tables" / "debris" / "A02.parquet")

    wells = wells_of(entry)

    assert wells.tables == ("nuclei",)
    assert wells.table("nuclei").rows() == [("A02", 1.0), ("A02", 2.0), ("B01", 3.0)]
    with pytest.raises(MissingKeyError, match=r"has a table 'debris' \(known: nuclei\)"):
        wells.table("debris")


def _list_file(folder: Path, well: str, file: Path) -> None:
    path = folder / "wells" / f"{well}.json"
    manifest = read_manifest(path)
    assert manifest is not None
    stored = StoredFile(path=file.relative_to(folder).as_posix(), size=file.stat().st_size, crc32c=0)
    path.write_bytes(manifest_to_json(replace(manifest, files=(*manifest.files, stored))))


OWN_ASSET = """
import dagster as dg
import numpy as np
import polars
from openhcs_dagster.storage.io_manager import VfsIOManager

wells = dg.AssetSpec(dg.AssetKey(["P001", "processed_wells"]), partitions_def=dg.StaticPartitionsDefinition({wells}))

@dg.asset(ins={{"wells": dg.AssetIn(key=wells.key)}})
def brightness(wells):
    rows = [
        {{"well": well, "site": site, "channel": label, "mean": float(np.mean(field[0, number, :, :32, :32]))}}
        for well, fields in wells.items()
        for site, field in fields.items()
        for number, label in enumerate(field.channel_labels)
    ]
    return polars.DataFrame(rows)

if __name__ == "__main__":
    result = dg.materialize(
        [wells, brightness], selection=[brightness], resources={{"io_manager": VfsIOManager(root={root!r})}}
    )
    print(result.asset_value("brightness").write_csv(), end="")
"""


def test_an_asset_of_a_users_module_reads_wells_in_another_process(
    deployment: Deployment, entry: CatalogueEntry
) -> None:
    """A module that knows the wells by their key alone measures them in a process of its own."""
    module = deployment.root / "own_assets.py"
    module.write_text(textwrap.dedent(OWN_ASSET.format(wells=list(entry.wells), root=str(deployment.settings.values))))

    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(module)],
        cwd=REPO,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    measured = polars.read_csv(done.stdout.encode())
    labels = next(iter(wells_of(entry)["A02"].values())).channel_labels
    assert measured["well"].to_list() == ["A02"] * 2 + ["B01"] * 2
    assert measured["channel"].to_list() == [*labels, *labels]
    for row in measured.iter_rows(named=True):
        field = next(iter(wells_of(entry)[row["well"]].values()))
        expected = field[0, labels.index(row["channel"]), :, :32, :32].mean()
        assert row["mean"] == pytest.approx(expected)
