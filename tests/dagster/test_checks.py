"""Asset checks on what is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import msgspec
import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.assets import plate_graph
from tests.dagster.deployments import Deployment


def judged(deployment: Deployment, entry: CatalogueEntry, *, with_report: bool = False) -> dg.AssetCheckEvaluation:
    """What the check says of the plate's output now: executed by hand as the UI does it, or with a new report."""
    keys, graph = PlateKeys(entry.id), plate_graph(entry)
    check = dg.AssetCheckKey(keys.report, "wells_are_whole")
    defs = dg.Definitions(
        assets=graph.assets,
        asset_checks=graph.checks,
        jobs=[dg.define_asset_job("by_hand", dg.AssetSelection.checks(check))],
        resources=build_resources(deployment.settings),
        executor=dg.in_process_executor,
    )
    job = defs.resolve_implicit_global_asset_job_def() if with_report else defs.resolve_job_def("by_hand")
    result = job.execute_in_process(
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance=deployment.instance,
        asset_selection=[keys.report] if with_report else None,
        raise_on_error=False,
    )
    return next(found for found in result.get_asset_check_evaluations() if found.check_name == "wells_are_whole")


def facts(found: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in found.metadata.items()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shard_of(entry: CatalogueEntry, well: str) -> Path:
    """A file of a well's pixels."""
    place = entry.output_plan.folder / "images.zarr" / well[0] / well[1:]
    return next(path for path in sorted(place.rglob("c.*")) if path.is_file())


@dataclass(frozen=True)
class Damage:
    """Something that happens to a published plate."""

    name: str
    change: Callable[[Path], object]
    """Gets a published image file of well A02."""
    severity: dg.AssetCheckSeverity
    told: str

    def __str__(self) -> str:
        return self.name


DAMAGE = (
    Damage("byte flipped", flip, dg.AssetCheckSeverity.ERROR, "well A02: images.zarr/A/02/"),
    Damage("file missing", Path.unlink, dg.AssetCheckSeverity.ERROR, "is missing"),
    Damage(
        "foreign file",
        lambda path: (path.parents[5] / "notes.txt").write_text("mine"),
        dg.AssetCheckSeverity.WARN,
        "notes.txt",
    ),
)


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_a_damaged_plate_turns_the_check_red(deployment: Deployment, damage: Damage) -> None:
    """It names well and file and what to do; a foreign file is a warning, since it harms no well."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("whole"))
    assert deployment.run(entry, "A01", "A02").refusal is None
    check = dg.AssetCheckKey(PlateKeys("P001").report, "wells_are_whole")
    (record,) = deployment.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    assert record.event is not None and record.event.dagster_event is not None
    assert record.event.dagster_event.asset_check_evaluation_data.passed, "the report's run judges the plate as well"

    damage.change(shard_of(entry, "A02"))
    found = judged(deployment, entry)
    assert (found.passed, found.severity) == (False, damage.severity) and damage.told in (found.description or "")


def test_a_plate_that_was_never_run_is_no_crash(deployment: Deployment) -> None:
    """The check says that there is no output."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("never"))
    found = judged(deployment, entry)
    assert not found.passed and "is not an output folder" in (found.description or "")


def test_a_report_reads_only_what_is_new_and_a_check_by_hand_reads_all(deployment: Deployment) -> None:
    """Wells that were read and have not changed are judged by size and time; the check says which way it looked."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("cheap"))
    deployment.run(entry, "A01", "A02")
    first = judged(deployment, entry, with_report=True)
    deployment.run(entry, "A03")
    (entry.output_plan.folder / "wells" / "A01.json").touch()

    second, by_hand = judged(deployment, entry, with_report=True), judged(deployment, entry)

    assert facts(first)["wells read"] == 0
    assert first.description is not None and "2 that were read before have the same sizes" in first.description
    assert (facts(second)["wells read"], facts(second)["whole wells"]) == (1, 3)
    assert facts(by_hand)["wells read"] == 3
    assert facts(by_hand)["how"] == "every file was read"


def test_a_changed_file_is_found_by_the_next_report(deployment: Deployment) -> None:
    """Whatever size it has and whatever time of change it shows; and it stays red until it is mended."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("changed"))
    deployment.run(entry, "A01", "A02")
    shard = shard_of(entry, "A02")
    before = shard.stat()
    flip(shard)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))

    for _ in range(2):
        found = judged(deployment, entry, with_report=True)
        assert not found.passed and "well A02" in (found.description or "")
        assert facts(found)["wells read"] == 1

    flip(shard)
    assert judged(deployment, entry, with_report=True).passed


def test_what_cannot_be_remembered_is_read_again(deployment: Deployment) -> None:
    """A damaged memory of what was read costs time, never the truth."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("forgotten"))
    deployment.run(entry, "A01")
    memory = entry.output_plan.folder / "report" / "verified.json"
    memory.write_text('{"A01": "yes"}')

    found = judged(deployment, entry, with_report=True)

    assert found.passed and facts(found)["wells read"] == 1
    assert msgspec.json.decode(memory.read_bytes(), type=dict[str, int]).keys() == {"A01"}
