"""Harmony's images that differ in what a plate has no axis for: fast kinetics and fluorescence lifetimes.

The numbers stand in the names (``fk2``, ``fl3``), not in the index. Images of a fast series follow each other within
one time point: they become time points of their own. Those of several lifetimes show one field at one time: they become
channels of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from msgspec import structs

from openhcs_engine.microscopes.declared import examples
from openhcs_engine.microscopes.harmony.index import HarmonyChannel, HarmonyImage, HarmonyIndex
from openhcs_engine.microscopes.harmony.names import HarmonyName, parse_harmony_name
from openhcs_engine.microscopes.remarks import Remarks

_ALONE: Final = "fk1fl1"
"""In the name of an image of no series, which nearly all are."""


class Series(NamedTuple):
    """Numbers of an image beside its time point."""

    fast: int = 1
    lifetime: int = 1


class _Coordinates(NamedTuple):
    timepoint: int
    channel: int
    series: Series


def index_with_series(index: HarmonyIndex, remarks: Remarks) -> HarmonyIndex:
    """The index with time points and channels for the images of a series, if several of them share a coordinate."""
    coordinates = [_Coordinates(image.timepoint, image.channel, _series_of_url(image.url)) for image in index.images]
    if all(each.series == Series() for each in coordinates):
        return index
    keys = [(image.well, image.field, image.plane, image.channel, image.timepoint) for image in index.images]
    if len({(key, each.series) for key, each in zip(keys, coordinates, strict=True)}) == len(set(keys)):
        return index  # its time points tell the series apart already
    numbers = _Numbers(coordinates)
    numbers.report(remarks)
    images = tuple(_moved(image, each, numbers) for image, each in zip(index.images, coordinates, strict=True))
    return replace(index, images=images, channels={**index.channels, **numbers.channels_of(index.channels)})


def names_with_series(
    names: Mapping[str, HarmonyName], remarks: Remarks
) -> tuple[Mapping[str, HarmonyName], Mapping[int, str]]:
    """The same for images that are known by their names alone, by path; and names of the channels that are added."""
    coordinates = {
        path: _Coordinates(name.timepoint, name.channel, Series(name.fast, name.lifetime))
        for path, name in names.items()
    }
    are_distinct = len({name[:5] for name in names.values()}) == len(names)
    if are_distinct or len({each.series for each in coordinates.values()}) < 2:
        return names, {}
    numbers = _Numbers(coordinates.values())
    numbers.report(remarks)
    moved = {
        path: name._replace(
            timepoint=numbers.timepoint(coordinates[path]),
            channel=numbers.channel(coordinates[path]),
            fast=1,
            lifetime=1,
        )
        for path, name in names.items()
    }
    added = numbers.channels_of({each.channel: HarmonyChannel() for each in coordinates.values()})
    return moved, {number: channel.name for number, channel in added.items() if channel.name is not None}


def _series_of_url(url: str | None) -> Series:
    if url is None or _ALONE in url:
        return Series()
    name = parse_harmony_name(url.replace("\\", "/").rpartition("/")[2])
    return Series() if name is None else Series(name.fast, name.lifetime)


def _moved(image: HarmonyImage, coordinates: _Coordinates, numbers: _Numbers) -> HarmonyImage:
    return structs.replace(image, timepoint=numbers.timepoint(coordinates), channel=numbers.channel(coordinates))


class _Numbers:
    """Time points and channels of series, numbered."""

    def __init__(self, coordinates: Iterable[_Coordinates]) -> None:
        found = set(coordinates)
        self.moments = sorted({(each.timepoint, each.series.fast) for each in found})
        self.is_fast = len({fast for _, fast in self.moments}) > 1
        first = self.moments[0][0]  # Harmony 5 counts from 0
        self.times = {moment: number for number, moment in enumerate(self.moments, start=first)}
        decays = {each.channel: set[int]() for each in found}
        for each in found:
            decays[each.channel].add(each.series.lifetime)
        following = max(decays)
        self.waves: dict[tuple[int, int], int] = {}
        self.divided = {channel: sorted(seen) for channel, seen in sorted(decays.items()) if len(seen) > 1}
        for channel, lifetimes in self.divided.items():
            self.waves[channel, lifetimes[0]] = channel
            for lifetime in lifetimes[1:]:
                following += 1
                self.waves[channel, lifetime] = following

    def timepoint(self, coordinates: _Coordinates) -> int:
        """The time point of an image."""
        return self.times[coordinates.timepoint, coordinates.series.fast] if self.is_fast else coordinates.timepoint

    def channel(self, coordinates: _Coordinates) -> int:
        """The channel of an image."""
        return self.waves.get((coordinates.channel, coordinates.series.lifetime), coordinates.channel)

    def channels_of(self, known: Mapping[int, HarmonyChannel]) -> dict[int, HarmonyChannel]:
        """The channels of lifetimes, named by what is known of the channel that they divide."""
        own: dict[int, HarmonyChannel] = {}
        for (channel, lifetime), number in self.waves.items():
            said = known.get(channel, HarmonyChannel())
            own[number] = replace(said, name=f"{said.name or f'Channel {channel}'} (lifetime {lifetime})")
        return own

    def report(self, remarks: Remarks) -> None:
        """Say what became of the series."""
        if self.is_fast:
            listed = [f"{number}: time point {time}, fast {fast}" for (time, fast), number in self.times.items()]
            remarks.warnings.append(
                "The images of fast kinetic series are time points of their own, numbered "
                f"{self.times[self.moments[0]]} to {self.times[self.moments[-1]]} ({examples(listed)})."
            )
        for channel, lifetimes in self.divided.items():
            listed = [f"{self.waves[channel, lifetime]}: lifetime {lifetime}" for lifetime in lifetimes]
            remarks.warnings.append(
                f"The lifetime images of channel {channel} are channels of their own ({examples(listed)})."
            )
