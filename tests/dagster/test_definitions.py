"""The code location loads from the catalogue alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.home import prepare_home
from openhcs_dagster.settings import Settings
from openhcs_engine.errors import OptionError
from tests.dagster.deployments import Deployment

REPO = Path(__file__).resolve().parent.parent.parent


def add_absent(deployment: Deployment, plate_id: str) -> None:
    """A plate whose folder does not exist and whose pipeline cannot be imported."""
    deployment.catalogue.add(
        CatalogueEntry(
            id=plate_id,
            folder="/nowhere/raw",
            microscope="imagexpress",
            pipeline="nowhere:pipeline",
            output="/nowhere/out",
            wells=("A01", "A02"),
            listing_digest="",
            added="2026-01-01T00:00:00+00:00",
        )
    )


@pytest.mark.parametrize("plates", [0, 1, 30])
def test_definitions_load_without_touching_folders_or_pipelines(deployment: Deployment, plates: int) -> None:
    """Plates that do not exist, with pipelines that do not exist, give four assets each and jobs that resolve."""
    for number in range(plates):
        add_absent(deployment, f"P-{number:03d}")

    defs = build_definitions(deployment.settings)

    defs.resolve_all_job_defs()
    assert len(list(defs.resolve_asset_graph().get_all_asset_keys())) == 4 * plates


def test_a_plate_is_one_group_with_its_own_partitions(deployment: Deployment) -> None:
    """Group, partitions and keys follow the entry; '-' and '.' become '_' in the group's name."""
    add_absent(deployment, "P-1.b")

    graph = build_definitions(deployment.settings).resolve_asset_graph()

    wells = graph.get(dg.AssetKey(["P-1.b", "processed_wells"]))
    assert wells.group_name == "P_1_b"
    assert wells.partitions_def is not None
    assert list(wells.partitions_def.get_partition_keys()) == ["A01", "A02"]


def test_a_broken_entry_does_not_break_the_code_location(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """The broken file is named in the log and in the location's metadata; the other plates load."""
    add_absent(deployment, "P001")
    (deployment.settings.catalogue / "half.json").write_text('{"id": "ha')

    defs = build_definitions(deployment.settings)

    assert len(list(defs.resolve_asset_graph().get_all_asset_keys())) == 4
    assert "half.json" in caplog.text
    assert "half.json" in str(defs.metadata)


@pytest.mark.slow
@pytest.mark.parametrize("plates", [0, 1, 12])
def test_dagster_validates_the_workspace(deployment: Deployment, plates: int) -> None:
    """``dagster definitions validate -w workspace.yaml`` passes with no, one and many plates."""
    prepare_home(deployment.settings.home)
    for number in range(plates):
        add_absent(deployment, f"P{number:03d}")

    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(REPO / "workspace.yaml")],
        env={**os.environ, "DAGSTER_HOME": str(deployment.settings.home)},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_engine_needs_no_heavy_import_to_load_definitions() -> None:
    """Loading happens at every reload: it imports neither matplotlib nor zarr nor an array framework."""
    code = (
        "import sys, openhcs_dagster.definitions\n"
        "print([name for name in ('matplotlib', 'zarr', 'torch', 'jax', 'tensorflow', 'polars', 'skimage') "
        "if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "DAGSTER_HOME": "/nowhere/home"},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


def test_the_home_is_made_once_and_then_left_alone(tmp_path: Path) -> None:
    """A home gets its configuration when it is new; what a person wrote into it stays."""
    prepare_home(tmp_path)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    prepare_home(tmp_path)

    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert (tmp_path / "workspace.yaml").is_file()


def test_a_home_of_an_earlier_version_is_told_what_it_lacks(tmp_path: Path) -> None:
    """The lines to add are in the sentence; with them, or with a database server instead of files, nothing is said."""
    file = tmp_path / "dagster.yaml"
    assert prepare_home(tmp_path) is None
    file.write_text("telemetry: {enabled: false}\n")

    said = prepare_home(tmp_path)

    assert said is not None
    assert str(file) in said
    file.write_text(file.read_text() + said.partition("\n")[2])
    assert prepare_home(tmp_path) is None
    launcher = said[said.index("run_launcher:") : said.index("event_log_storage:")]
    file.write_text("storage: {postgres: {}}\nrun_monitoring: {enabled: true}\n" + launcher)
    assert prepare_home(tmp_path) is None


@pytest.mark.parametrize("variable", ["DAGSTER_HOME", "OPENHCS_CATALOGUE"])
def test_settings_behind_a_url_are_refused(variable: str) -> None:
    """Else Dagster would quietly keep its runs in a folder called ``s3:``."""
    with pytest.raises(OptionError, match=rf"{variable}='s3://bucket/home' is a URL"):
        Settings.of({variable: "s3://bucket/home"})


def test_settings_follow_the_environment(tmp_path: Path) -> None:
    """DAGSTER_HOME holds the catalogue unless OPENHCS_CATALOGUE names another folder."""
    home = str(tmp_path)

    assert Settings.of({"DAGSTER_HOME": home}).catalogue == tmp_path / "plates"
    assert Settings.of({"DAGSTER_HOME": home, "OPENHCS_CATALOGUE": "/c"}).catalogue == Path("/c")
    assert Settings.of({}).home == Path.cwd() / ".dagster_home"
