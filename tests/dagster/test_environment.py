"""Values of the environment are checked where they are read; a wrong clock harms the schedule alone."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.definitions import build_definitions
from openhcs_dagster.environment import NIGHTLY, TIMEZONE, clock_of, webserver_of
from openhcs_dagster.settings import Settings
from openhcs_engine.errors import OptionError
from tests.dagster.deployments import Deployment


@dataclass(frozen=True)
class Wrong:
    """A value as people type it, and what the sentence holds."""

    value: str
    told: str

    def __str__(self) -> str:
        return self.value[:20]


ZONES = [
    Wrong("CEST", "write it as Europe/Berlin"),
    Wrong("Europe/Zuerich", "write it as Europe/Zurich"),
    Wrong("Europe/Zürich", "write it as Europe/Zurich"),
    Wrong("europe/zurich", "write it as Europe/Zurich"),
    Wrong("Zurich", "write it as Europe/Zurich"),
    Wrong("New York", "write it as America/New_York"),
    Wrong("/usr/share/zoneinfo/Asia/Tokyo", "write it as Asia/Tokyo"),
    Wrong("UTC+1", "write it as Etc/GMT-1 (the sign is turned round"),
    Wrong("-03:00", "write it as Etc/GMT+3 (the sign"),
    Wrong("UTC+05:30", "for example, Europe/Zurich"),
    Wrong("utc", "write it as UTC"),
    Wrong("Europe", "for example, Europe/Zurich"),
    Wrong("true", "for example, Europe/Zurich"),
    Wrong("1", "for example, Europe/Zurich"),
    Wrong("../../etc/passwd", "for example, Europe/Zurich"),
    Wrong("Q" * 5000, "…' is no name of a time zone"),
]
TIMES = [
    Wrong(
        "every night", 'five parts (minute, hour, day of the month, month, day of the week); write it as "0 1 * * *"'
    ),
    Wrong("0 25 * * *", "has '25' for the hour, which is 0 to 23"),
    Wrong("60 1 * * *", "has '60' for the minute"),
    Wrong("0 1 * 13 *", "has '13' for the month"),
    Wrong("0 1 * * funday", "has 'funday' for the day of the week"),
    Wrong("0 1 30 2 *", "names a day that never comes"),
    Wrong("0 1 31 4 *", "names a day that never comes"),
    Wrong("0 0 1 * * *", "five parts"),
    Wrong("01:30", 'write it as "30 1 * * *"'),
    Wrong("10 pm", 'write it as "0 22 * * *"'),
    Wrong("12 am", 'write it as "0 0 * * *"'),
    Wrong("true", "five parts"),
    Wrong("1", "five parts"),
    Wrong("@reboot", "five parts"),
]


@pytest.mark.parametrize("wrong", ZONES, ids=str)
def test_a_wrong_time_zone_is_named_with_the_nearest_that_there_is(wrong: Wrong) -> None:
    """The sentence says the variable, what it holds and what to write; the clock is not guessed."""
    clock = clock_of({"OPENHCS_TIMEZONE": wrong.value})

    (fault,) = clock.faults
    assert fault.startswith("OPENHCS_TIMEZONE='") and wrong.told in fault and len(fault) < 400
    assert "no plate is started at night" in fault and clock.timezone == TIMEZONE


@pytest.mark.parametrize("wrong", TIMES, ids=str)
def test_a_wrong_time_says_which_part_is_wrong(wrong: Wrong) -> None:
    """With the time of day that was meant, if it can be known."""
    clock = clock_of({"OPENHCS_NIGHTLY": wrong.value})

    (fault,) = clock.faults
    assert fault.startswith(f"OPENHCS_NIGHTLY={wrong.value!r}") and wrong.told in fault and clock.cron == NIGHTLY


@pytest.mark.parametrize(
    "cron", ["30 20 * * 1-5", "*/15 * * * *", "0 1 * * mon-fri", "@daily", "0 1 29 2 *", " 0 2 * * * "]
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "CET", "Etc/GMT-1", "America/Argentina/Ushuaia"])
def test_a_right_clock_is_what_dagster_gets(cron: str, zone: str) -> None:
    """Blanks around it are none of it."""
    clock = clock_of({"OPENHCS_NIGHTLY": cron, "OPENHCS_TIMEZONE": zone})

    assert not clock.faults and (clock.cron, clock.timezone) == (cron.strip(), zone)


@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_value_is_as_good_as_none(nothing: str) -> None:
    """As everywhere in shells."""
    clock = clock_of({"OPENHCS_NIGHTLY": nothing, "OPENHCS_TIMEZONE": nothing})

    assert clock == clock_of({}) and not clock.faults and webserver_of({"OPENHCS_WEBSERVER": nothing}) == ("", None)


def test_every_zone_that_is_proposed_exists() -> None:
    """Whatever abbreviation somebody writes, the answer can be copied."""
    from openhcs_dagster.environment import _SUMMER_TIMES

    assert set(_SUMMER_TIMES.values()) <= zoneinfo.available_timezones()
    assert not set(_SUMMER_TIMES) & zoneinfo.available_timezones()


def test_a_host_without_time_zones_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small containers have none; UTC needs none."""
    monkeypatch.setattr(zoneinfo, "available_timezones", set)

    assert "pip install tzdata" in clock_of({"OPENHCS_TIMEZONE": "Europe/Zurich"}).faults[0]
    assert not clock_of({"OPENHCS_TIMEZONE": "UTC"}).faults


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("lab1:3000", "lab1:3000"),
        ("http://127.0.0.1:3100/", "127.0.0.1:3100"),
        ("lab1", "lab1:3000"),
        ("[::1]:80", "[::1]:80"),
    ],
)
def test_a_web_server_is_host_and_port(given: str, meant: str) -> None:
    """Also copied from the browser, or without its port."""
    assert webserver_of({"OPENHCS_WEBSERVER": given}) == (meant, None)


@pytest.mark.parametrize(
    "given", ["lab1:abc", "3000", ":3000", "lab1:99999", "true false", "https://x", "lab1:0", "a/b:1"]
)
def test_a_web_server_that_is_none_is_said_and_not_used(given: str) -> None:
    """Plates are registered all the same; the sentence says what to press meanwhile."""
    webserver, fault = webserver_of({"OPENHCS_WEBSERVER": given})

    assert webserver == "" and fault is not None
    assert f"OPENHCS_WEBSERVER={given!r}" in fault and "127.0.0.1:3000" in fault and "Reload" in fault


WRONG_CLOCK = {"OPENHCS_TIMEZONE": "CEST", "OPENHCS_NIGHTLY": "every night", "OPENHCS_WEBSERVER": "nobody:x"}


def test_a_wrong_clock_switches_the_schedule_off_and_nothing_else(deployment: Deployment) -> None:
    """Plates, sensors and reports of the code location load; the schedule says why it is off, and starts nothing."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("clock"))
    settings = Settings.of({"DAGSTER_HOME": str(deployment.settings.home), **WRONG_CLOCK})

    defs = build_definitions(settings)

    repository = defs.get_repository_def()
    assert {f"{entry.id}/processed_wells"} <= {
        key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()
    }
    assert len(repository.sensor_defs) == len(build_definitions(deployment.settings).get_repository_def().sensor_defs)
    schedule = defs.resolve_schedule_def("nightly")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert (
        "OPENHCS_TIMEZONE='CEST'" in (schedule.description or "") and "OPENHCS_NIGHTLY='every" in schedule.description
    )
    with dg.build_schedule_context(instance=deployment.instance, repository_def=repository) as context:
        tick = schedule.evaluate_tick(context)
    assert not tick.run_requests and "OPENHCS_TIMEZONE='CEST'" in (tick.skip_message or "")
    told = str(defs.metadata["environment"].value)  # type: ignore[index] # there is metadata
    assert all(name in told for name in WRONG_CLOCK)


def test_a_plate_is_materialized_with_a_wrong_clock(deployment: Deployment) -> None:
    """No schedule is needed for it."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("clock"))
    wrong = Deployment(
        deployment.root,
        Settings.of({"DAGSTER_HOME": str(deployment.settings.home), **WRONG_CLOCK}),
        deployment.instance,
    )

    run = wrong.run(entry, entry.wells[0])

    assert run.refusal is None and not run.failed and len(run.outcomes) == 1


@pytest.mark.parametrize("variable", ["DAGSTER_HOME", "OPENHCS_CATALOGUE"])
def test_a_file_is_no_folder(tmp_path: Path, variable: str) -> None:
    """Said before it is taken for an empty catalogue, or made a folder of."""
    (tmp_path / "file").write_text("")

    with pytest.raises(OptionError, match=f"{variable}=.* is a file; name a folder"):
        Settings.of({variable: str(tmp_path / "file")})
