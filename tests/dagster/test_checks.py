"""Asset checks on what is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.checks import wells_are_whole
from openhcs_dagster.keys import PlateKeys
from tests.dagster.deployments import Deployment


def judged(entry: CatalogueEntry) -> dg.AssetCheckResult:
    """What the check says of the plate's output now."""
    result = wells_are_whole(entry)()
    assert isinstance(result, dg.AssetCheckResult)
    return result


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


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

    shard = next(
        path for path in (entry.output_plan.folder / "images.zarr" / "A" / "02").rglob("c.*") if path.is_file()
    )
    damage.change(shard)
    found = judged(entry)
    assert (found.passed, found.severity) == (False, damage.severity) and damage.told in (found.description or "")


def test_a_plate_that_was_never_run_is_no_crash(deployment: Deployment) -> None:
    """The check says that there is no output."""
    found = judged(deployment.add(deployment.plate(), deployment.pipeline("never")))
    assert not found.passed and "is not an output folder" in (found.description or "")
