"""The one place where values of the environment are checked: a wrong one is a sentence with an example, no exception.

Dagster checks a schedule's clock when it loads a code location, and refuses all of it for one wrong word.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from openhcs_dagster.ui.hosts import EXAMPLE, host_of

NIGHTLY: Final = "0 1 * * *"
"""An hour after midnight."""
TIMEZONE: Final = "UTC"
WEBSERVER_PORT: Final = 3000

_LONGEST: Final = 60
"""Letters of a value that a sentence shows."""
_SUMMER_TIMES: Final = {
    "CEST": "Europe/Berlin",
    "MEZ": "Europe/Berlin",
    "MESZ": "Europe/Berlin",
    "BST": "Europe/London",
    "WEST": "Europe/Lisbon",
    "EEST": "Europe/Athens",
    "MSK": "Europe/Moscow",
    "EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "MDT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "SGT": "Asia/Singapore",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland",
    "NZDT": "Pacific/Auckland",
}
"""What clocks are called in some part of the year, and a zone that is meant; no names of zones."""
_OFFSET: Final = re.compile(r"(?:UTC|GMT|Z)?\s*([+-−])\s*(\d{1,2})(?::?00)?", re.IGNORECASE)
_CRON_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12 or jan to dec"),
    ("day of the week", "0 to 6 from Sunday on, or sun to sat"),
)
_CLOCK: Final = re.compile(r"(\d{1,2})(?:[:.h](\d{2}))?\s*(am|pm|h|uhr|o'clock)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When the nightly schedule starts."""

    cron: str = NIGHTLY
    """Minute, hour, day of the month, month, day of the week."""
    timezone: str = TIMEZONE
    """The zone whose time ``cron`` means."""
    faults: tuple[str, ...] = ()
    """What is wrong with the values that were given, as sentences; then nothing starts by itself."""


def clock_of(environ: Mapping[str, str]) -> Clock:
    """The clock that OPENHCS_NIGHTLY and OPENHCS_TIMEZONE set; what is not set, or empty, has its default."""
    cron, zone = (environ.get(name, "").strip() for name in ("OPENHCS_NIGHTLY", "OPENHCS_TIMEZONE"))
    faults = {
        "OPENHCS_NIGHTLY": (cron, _cron_fault(cron) if cron else None),
        "OPENHCS_TIMEZONE": (zone, _zone_fault(zone) if zone else None),
    }
    sentences = tuple(
        f"{name}={_shown(value)} {fault} Until it is corrected, no plate is started at night; all else works."
        for name, (value, fault) in faults.items()
        if fault
    )
    return Clock(
        cron=NIGHTLY if faults["OPENHCS_NIGHTLY"][1] else cron or NIGHTLY,
        timezone=TIMEZONE if faults["OPENHCS_TIMEZONE"][1] else zone or TIMEZONE,
        faults=sentences,
    )


def webserver_of(environ: Mapping[str, str]) -> tuple[str, str | None]:
    """``host:port`` in OPENHCS_WEBSERVER, and what is wrong with it; empty and None if it is not set."""
    given = environ.get("OPENHCS_WEBSERVER", "").strip()
    if not given:
        return "", None
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?/?", given)
    if found and not given.isdecimal() and 1 <= int(found[2] or WEBSERVER_PORT) <= 65535:
        return f"{found[1]}:{found[2] or WEBSERVER_PORT}", None
    return "", (
        f"OPENHCS_WEBSERVER={_shown(given)} is no host and port of a web server; write it as "
        f"127.0.0.1:{WEBSERVER_PORT}. Until it is corrected, new plates appear after Reload in the UI."
    )


def ui_hosts_of(environ: Mapping[str, str]) -> tuple[tuple[str, ...], str | None]:
    """The names in OPENHCS_UI_HOSTS by which browsers may call the UI, or none and what is wrong with it."""
    given = environ.get("OPENHCS_UI_HOSTS", "")
    names = tuple(dict.fromkeys(name.strip().lower() for name in given.split(",") if name.strip()))
    wrong = next((name for name in names if host_of(name) != name), None)
    if wrong is None:
        return names, None
    return (), (
        f"OPENHCS_UI_HOSTS={_shown(given)} has {_shown(wrong)}, which is no name of a host; write names alone, without "
        f"port and https://, separated by commas, as {EXAMPLE}. Until it is corrected, the UI answers to the names "
        "of this host alone."
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")


def _zone_fault(name: str) -> str | None:
    """What is wrong with a time zone's name, with the nearest one that there is; None if it is one."""
    known = zoneinfo.available_timezones()
    if name in known or name == TIMEZONE:
        return None
    if not known:
        return "cannot be looked up, since this host has no time zones; install them with: pip install tzdata."
    nearest = _nearest_zone(name, known)
    if nearest is None:
        return "is no name of a time zone, nor near to one; write it as, for example, Europe/Zurich."
    return f"is no name of a time zone; write it as {nearest}{_AHEAD if nearest.startswith('Etc/') else ''}."


_AHEAD: Final = " (the sign is turned round in these names, and they know no summer time; better name a city)"


def _nearest_zone(name: str, known: set[str]) -> str | None:
    if (meant := _SUMMER_TIMES.get(name.upper())) in known:
        return meant
    if (offset := _OFFSET.fullmatch(name)) is not None:
        sign, hours = ("-" if offset[1] == "+" else "+"), int(offset[2])
        fixed = f"Etc/GMT{sign}{hours}" if hours else TIMEZONE
        return fixed if fixed in known else None
    # A path to a zone's file, another case, a city alone, a typing error: whatever is nearest in its letters.
    asked = name.casefold().replace(" ", "_").rpartition("zoneinfo/")[2]
    zones = {zone.casefold(): zone for zone in sorted(known)}
    cities = {zone.casefold().rpartition("/")[2]: zone for zone in sorted(known, reverse=True) if "/" in zone}
    for names in (zones, cities):
        if asked in names:
            return names[asked]
    near = get_close_matches(asked, zones, n=1, cutoff=0.75)
    if near:
        return zones[near[0]]
    near = get_close_matches(asked.rpartition("/")[2], cities, n=1, cutoff=0.8)
    return cities[near[0]] if near else None


def _cron_fault(text: str) -> str | None:
    """What is wrong with a time as cron says it; None if nothing is."""
    if _is_cron(text):
        return None
    example = f'"{_cron_meant(text)}"'
    parts = text.split()
    if len(parts) != len(_CRON_FIELDS):
        return (
            f"is no time as cron says it, which has five parts ({', '.join(name for name, _ in _CRON_FIELDS)}); write "
            f"it as {example}."
        )
    for position, (part, (name, allowed)) in enumerate(zip(parts, _CRON_FIELDS, strict=True)):
        alone = ["*"] * len(parts)
        alone[position] = part
        if not _is_cron(" ".join(alone)):
            return f"has {part!r} for the {name}, which is {allowed}; write it as {example}."
    return f"names a day that never comes; write it as {example}."


def _cron_meant(text: str) -> str:
    """A time of the day as cron says it, if the text is one; otherwise the default."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None or not (found[2] or found[3]):
        return NIGHTLY
    hour, minute = int(found[1]), int(found[2] or 0)
    if (found[3] or "").lower() in ("am", "pm") and 1 <= hour <= 12:
        hour = hour % 12 + (12 if found[3].lower() == "pm" else 0)
    return f"{minute} {hour} * * *" if hour < 24 and minute < 60 else NIGHTLY


def _is_cron(text: str) -> bool:
    """Whether Dagster takes it, and it will ever come."""
    from openhcs_dagster.internals import cron_string_iterator, is_valid_cron_string

    try:
        return is_valid_cron_string(text) and next(cron_string_iterator(0.0, text, TIMEZONE), None) is not None
    except ValueError:  # what the library of cron's times raises for the 31st of April
        return False


__all__ = ["NIGHTLY", "TIMEZONE", "Clock", "clock_of", "ui_hosts_of", "webserver_of"]
