"""What is started at night."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from openhcs_dagster.automation.staleness import compare_plates
from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.settings import Settings
from tests.dagster.deployments import Deployment

NIGHT = datetime(2026, 3, 14, 1, 0, tzinfo=UTC)


def evaluate(deployment: Deployment) -> tuple[list[dg.RunRequest], str]:
    """One evaluation by a freshly loaded code location."""
    defs = build_definitions(deployment.settings)
    repository = defs.get_repository_def()
    with dg.build_schedule_context(
        instance=deployment.instance, repository_def=repository, scheduled_execution_time=NIGHT
    ) as context:
        ticked = repository.get_schedule_def("nightly").evaluate_tick(context)
    return list(ticked.run_requests or []), ticked.skip_message or ""


def test_a_current_plate_is_not_started(deployment: Deployment) -> None:
    """When nothing is to do the skip says so for each plate."""
    deployment.run(deployment.add(deployment.plate(), deployment.pipeline("night_nothing")))

    requests, why = evaluate(deployment)

    assert requests == []
    assert why == "Nothing to start. Plate P001: All its wells are current."


def test_a_new_plate_is_started_over_all_its_wells_in_one_run(deployment: Deployment) -> None:
    """One ranged request a plate, with a key that is the same when the tick is evaluated again."""
    deployment.add(deployment.plate(), deployment.pipeline("new_plate"))

    first, _ = evaluate(deployment)
    again, _ = evaluate(deployment)

    (request,) = first
    assert request.asset_selection == PlateKeys("P001").processing
    assert request.tags["dagster/asset_partition_range_start"] == "A01"
    assert request.tags["dagster/asset_partition_range_end"] == "B03"
    assert request.run_key == again[0].run_key


def test_only_plates_with_something_to_do_are_started(deployment: Deployment) -> None:
    """Current: no. A failed well: yes. Stale by a changed parameter: yes. Not importable: reported; others go on."""
    current = deployment.add(deployment.plate("current"), deployment.pipeline("night_current"))
    failed = deployment.add(deployment.plate("failed", truncated_wells=("A02",)), deployment.pipeline("night_failed"))
    stale = deployment.add(deployment.plate("stale"), deployment.pipeline("night_stale"))
    broken = deployment.add(deployment.plate("broken"), deployment.pipeline("night_broken"))
    for entry in (current, failed, stale, broken):
        deployment.run(entry)
    deployment.pipeline("night_stale", high=91.0)
    deployment.catalogue.replace(replace(broken, pipeline="absent:pipeline"))

    requests, _ = evaluate(deployment)

    assert sorted(request.tags["openhcs/plate"] for request in requests) == ["failed", "stale"]
    verdicts = {
        verdict.plate_id: verdict for verdict in compare_plates(deployment.catalogue.list().entries, budget_s=600)
    }
    assert verdicts["current"].reason == "All its wells are current."
    assert verdicts["failed"].reason == "1 wells are missing, failed or stale."
    assert "No module 'absent'" in verdicts["broken"].reason


def test_a_plate_for_which_there_is_no_time_is_started(deployment: Deployment) -> None:
    """When comparing takes too long the plate is started: its current wells cost next to nothing."""
    deployment.run(deployment.add(deployment.plate(), deployment.pipeline("no_time")))

    (verdict,) = compare_plates(deployment.catalogue.list().entries, budget_s=0)

    assert verdict.start
    assert "no time" in verdict.reason


def test_the_night_begins_when_the_lab_says_so(deployment: Deployment) -> None:
    """OPENHCS_NIGHTLY and OPENHCS_TIMEZONE set the time; without them it is 01:00 UTC."""
    deployment.add(deployment.plate(), deployment.pipeline("night"))
    environ = {
        "DAGSTER_HOME": str(deployment.settings.home),
        "OPENHCS_NIGHTLY": "30 20 * * 1-5",
        "OPENHCS_TIMEZONE": "Europe/Berlin",
    }

    schedule = build_definitions(Settings.of(environ)).resolve_schedule_def("nightly")

    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 20 * * 1-5", "Europe/Berlin")
