"""Times that names or tables state instead of a number, as ``00d06h00m`` or ``2024y03m05d_14h30m`` → time points."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from openhcs_engine.microscopes.declared import examples, is_number

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "min": "minutes", "s": "seconds", "ms": "milliseconds"}
_ELAPSED = re.compile(
    r"(?:(?P<d>[0-9]{1,5}(?:\.[0-9]{1,6})?)d[ _-]?)?(?:(?P<h>[0-9]{1,5}(?:\.[0-9]{1,6})?)h[ _-]?)?"
    r"(?:(?P<m>[0-9]{1,6}(?:\.[0-9]{1,6})?)m(?:in)?[ _-]?)?(?:(?P<s>[0-9]{1,8}(?:\.[0-9]{1,6})?)s[ _-]?)?"
    r"(?:(?P<ms>[0-9]{1,12})ms)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(
    r"([0-9]{4})[y-]?([0-9]{2})[m-]?([0-9]{2})d?[ T_-]?([0-9]{2})[h:.-]?([0-9]{2})(?:m|[:.-]?([0-9]{2})s?)?",
    re.ASCII | re.IGNORECASE,
)
_LISTED: Final = 100
"""Times that a note lists; an Incucyte that looks every hour for four days gives as many."""


class TimeError(ValueError):
    """Times that make no time points; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeNumbers:
    """The time points that texts stand for."""

    numbers: Mapping[str, int]
    """Those of texts that are times, from 1 in order of time; of other texts nothing."""
    notes: tuple[str, ...] = ()


def read_times(stated: Iterable[tuple[Hashable, str]]) -> TimeNumbers:
    """Number the times of one plate; texts that are numbers mean themselves and are not in the result.

    Parameters
    ----------
    stated
        Of each plane the series that it belongs to (well, site, channel and z), and the text of its time point.

    Raises
    ------
    TimeError
        If some texts are times and others numbers, or some elapsed and others the clock's; or if the series have
        different times, so that no number could stand for one moment.
    """
    series: dict[str, set[Hashable]] = {}
    for owner, text in stated:
        series.setdefault(text, set()).add(owner)
    elapsed = {text: time for text in series if (time := _elapsed(text)) is not None}
    clock = {text: moment for text in series if (moment := _clock(text)) is not None}
    if not elapsed and not clock:
        return TimeNumbers(numbers={})
    kinds = [list(elapsed), list(clock), [text for text in series if is_number(text)]]
    if sum(map(bool, kinds)) > 1:
        first, second, *_ = (kind[0] for kind in kinds if kind)
        raise TimeError(f"its time points are given in several ways ({first!r}, {second!r})")
    moments: dict[str, timedelta] = elapsed or _since_first(clock)
    numbers = {moment: number for number, moment in enumerate(sorted(set(moments.values())), start=1)}
    _refuse_own_times(series, moments)
    text_of = {numbers[moment]: text for text, moment in sorted(moments.items(), reverse=True)}
    listed = [f"{number}: {text_of[number]}" for number in sorted(text_of)]
    kind = "elapsed time" if elapsed else "the clock"
    return TimeNumbers(
        numbers={text: numbers[moment] for text, moment in moments.items()},
        notes=(f"Time points were numbered 1 to {len(numbers)} by {kind} ({examples(listed, _LISTED)}).",),
    )


def is_time(text: str) -> bool:
    """True for a text that states a time, elapsed or the clock's, and is no plain number."""
    return _elapsed(text) is not None or _clock(text) is not None


@lru_cache(maxsize=4096)
def _elapsed(text: str) -> timedelta | None:
    match = _ELAPSED.fullmatch(text)
    parts = {} if match is None else {unit: value for unit, value in match.groupdict().items() if value is not None}
    if not parts:
        return None
    return timedelta(**{_UNITS[unit]: float(value) for unit, value in parts.items()})


@lru_cache(maxsize=4096)
def _clock(text: str) -> datetime | None:
    match = None if is_number(text) else _CLOCK.fullmatch(text)
    try:
        if match is None:
            return None
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        return datetime(year, month, day, hour, minute, second)  # names state no time zone
    except ValueError:
        return None


def _since_first(clock: Mapping[str, datetime]) -> dict[str, timedelta]:
    first = min(clock.values())
    return {text: time - first for text, time in clock.items()}


def _refuse_own_times(series: Mapping[str, set[Hashable]], moments: Mapping[str, timedelta]) -> None:
    """A clock that was read for each image gives each well its own times, which are no common axis."""
    own: dict[Hashable, set[timedelta]] = {}
    for text, moment in moments.items():
        for owner in series[text]:
            own.setdefault(owner, set()).add(moment)
    all_times, most = len(set(moments.values())), max(map(len, own.values()))
    if 1 < all_times >= 2 * most:
        raise TimeError(
            f"its files state {all_times} times, but no well, site and channel has more than {most} of them: each has "
            "its own clock, and which images belong to one time point is not said"
        )
