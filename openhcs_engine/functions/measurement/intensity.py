"""Pixel values of objects: their sums, ranks, spread, and where they lie."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.measurement.objects import Floats, Integers, Objects, sums
from openhcs_engine.functions.measurement.outline import Rim, edge_of
from openhcs_engine.functions.measurement.shape import EVERYTHING

_RANKED: Final = tuple(
    f"Intensity_{name}"
    for name in (
        "LowerQuartileIntensity", "MedianIntensity", "UpperQuartileIntensity", "MinIntensity", "MaxIntensity",
        "MADIntensity",
    )
)  # fmt: skip
_LOCATED: Final = (
    "Intensity_MassDisplacement",
    *(f"Location_{name}_{axis}" for name in ("CenterMassIntensity", "MaxIntensity") for axis in "XYZ"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the values of objects lie in a plane, in stretches that each belong to one object."""

    flat: Integers
    """Place of each value in the flat plane."""
    owners: Integers
    """The object of each value."""
    begin: Integers
    """First value of each stretch."""
    row: Integers
    """Of each stretch."""
    owner: Integers
    """Of each stretch."""
    count: int
    """Objects."""
    width: int
    """Of the plane."""

    def only(self, wanted: NDArray[np.bool_]) -> Places:
        """Those of the values that are wanted."""
        left = np.add.reduceat(wanted, self.begin, dtype=np.intp) if len(self.begin) else self.begin
        some = left > 0
        begin = (np.cumsum(left) - left)[some]
        return Places(
            self.flat[wanted], self.owners[wanted], begin, self.row[some], self.owner[some], self.count, self.width
        )


def places_of(objects: Objects) -> Places:
    """Where all pixels of all objects lie."""
    begin = np.cumsum(objects.run_length) - objects.run_length
    return Places(
        flat=objects.plane_pixels(),
        owners=objects.owners,
        begin=begin,
        row=objects.run_row,
        owner=objects.run_object,
        count=objects.count,
        width=objects.shape[1],
    )


def edge_places(objects: Objects, rim: Rim, places: Places) -> Places:
    """Where the pixels at the objects' edges lie."""
    edge = np.zeros(len(places.flat), bool)
    edge[rim.at[edge_of(objects, rim)]] = True
    return places.only(edge)


def measure_intensity(
    plane: NDArray[Any], inside: Places, edge: Places, wanted: Container[str] = EVERYTHING
) -> Mapping[str, Floats]:
    """Columns of the groups ``Intensity`` and ``Location`` of one channel, as ``Group_Measurement``; those wanted.

    ``inside`` says where all pixels of objects lie in ``plane``, and ``edge`` those at their edges. Values that are not
    finite do not count; NaN where a measurement is undefined.
    """
    flat = np.ascontiguousarray(plane).ravel()
    whole = _Values.of(flat, inside)
    found = {"Intensity_IntegratedIntensity": whole.known(whole.sums), "Intensity_MeanIntensity": whole.mean}
    if "Intensity_StdIntensity" in wanted:
        found["Intensity_StdIntensity"] = whole.spread()
    if any(name in wanted for name in _RANKED) or any(name in wanted for name in _LOCATED):
        found |= _ranks(whole)
    if any(name in wanted for name in _LOCATED):
        found |= _locations(whole, found["Intensity_MaxIntensity"])
    if any(f"Intensity_{name}IntensityEdge" in wanted for name in ("Integrated", "Max", "Mean", "Min", "Std")):
        found |= _at_edge(_Values.of(flat, edge))
    return found


def _ranks(whole: _Values) -> dict[str, Floats]:
    ranked = _Ranked.of(whole)
    middle = ranked.quantile(0.5)
    values = (ranked.quantile(0.25), middle, ranked.quantile(0.75), ranked.quantile(0.0), ranked.quantile(1.0))
    return dict(zip(_RANKED, (*values, ranked.deviation(middle)), strict=True))


def _at_edge(rim: _Values) -> dict[str, Floats]:
    ranked = _Ranked.of(rim)
    return {
        "Intensity_IntegratedIntensityEdge": rim.known(rim.sums),
        "Intensity_MaxIntensityEdge": ranked.quantile(1.0),
        "Intensity_MeanIntensityEdge": rim.mean,
        "Intensity_MinIntensityEdge": ranked.quantile(0.0),
        "Intensity_StdIntensityEdge": rim.spread(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Values:
    """The finite values of one channel at some places."""

    values: NDArray[Any]
    """As they are, for what is ordered."""
    numbers: Floats
    """The same as float64, for what is summed."""
    places: Places
    number: Integers
    """Values of each object."""
    sums: Floats

    @classmethod
    def of(cls, flat: NDArray[Any], places: Places) -> _Values:
        values = flat[places.flat]
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            values, places = values[finite], places.only(finite)
        numbers = values.astype(np.float64)
        stretches = np.diff(places.begin, append=len(values))
        number = np.bincount(places.owner, weights=stretches, minlength=places.count).astype(np.intp)
        return cls(values, numbers, places, number, _total(numbers, places))

    @property
    def mean(self) -> Floats:
        return _divided(self.sums, self.number)

    def known(self, values: Floats) -> Floats:
        """NaN for objects without a value."""
        return np.where(self.number > 0, values, np.nan)

    def spread(self) -> Floats:
        """Standard deviation of all values, not of a sample."""
        away = self.numbers - self.mean[self.places.owners]
        return np.sqrt(_divided(_total(away * away, self.places), self.number))


def _total(numbers: Floats, places: Places) -> Floats:
    """Sums for each object: first of each stretch, where the values lie behind each other."""
    if not len(numbers):
        return np.zeros(places.count)
    return sums(np.add.reduceat(numbers, places.begin), places.owner, places.count)


def _divided(above: Floats, below: NDArray[Any]) -> Floats:
    found: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
    return found


def _locations(whole: _Values, high: Floats) -> dict[str, Floats]:
    """Centre of mass, brightest pixel (the first of several), and how far that centre lies from the object's own."""
    places = whole.places
    stretches = np.diff(places.begin, append=len(places.flat))
    row = places.row.astype(np.float64)
    column = places.flat - np.repeat(places.row * places.width, stretches)
    mass = np.add.reduceat(whole.numbers, places.begin) if len(row) else row

    def over(values: NDArray[Any]) -> Floats:
        return sums(values, places.owner, places.count)

    mass_y, mass_x = (
        _divided(over(row * mass), whole.sums),
        _divided(_total(column * whole.numbers, places), whole.sums),
    )
    centre_y = _divided(over(row * stretches), whole.number)
    centre_x = _divided(_total(column.astype(np.float64), places), whole.number)
    first = np.zeros(places.count, np.intp)
    brightest = np.flatnonzero(whole.numbers == high[places.owners])[::-1]  # so that an object's first one stays
    first[places.owners[brightest]] = places.flat[brightest]
    return {
        "Intensity_MassDisplacement": np.hypot(mass_y - centre_y, mass_x - centre_x),
        "Location_CenterMassIntensity_X": mass_x,
        "Location_CenterMassIntensity_Y": mass_y,
        "Location_CenterMassIntensity_Z": mass_x * 0,  # a plane has one z, which CellProfiler counts from 0
        "Location_MaxIntensity_X": whole.known((first % places.width).astype(np.float64)),
        "Location_MaxIntensity_Y": whole.known((first // places.width).astype(np.float64)),
        "Location_MaxIntensity_Z": whole.known(np.zeros(places.count)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """The values of each object in ascending order, behind each other."""

    values: NDArray[Any]
    begin: Integers
    number: Integers

    @classmethod
    def of(cls, found: _Values) -> _Ranked:
        return cls(_sorted_by_owner(found), np.cumsum(found.number) - found.number, found.number)

    def quantile(self, share: float) -> Floats:
        """Between the two values beside it, as ``numpy.percentile`` does."""
        place = np.maximum(self.number - 1, 0) * share
        below = place.astype(np.intp)
        above = np.minimum(below + 1, np.maximum(self.number - 1, 0))
        part = place - below
        return self._known(self._at(below) * (1 - part) + self._at(above) * part)

    def deviation(self, middle: Floats) -> Floats:
        """Median of the absolute differences from ``middle``.

        The values nearest to the middle lie side by side in the order of values, so that they are found by halving.
        """
        low, high = np.maximum(self.number - 1, 0) // 2, self.number // 2
        return self._known((self._nearest(middle, low) + self._nearest(middle, high)) / 2)

    def _nearest(self, middle: Floats, rank: Integers) -> Floats:
        """The difference of each object's value that is ``rank``-th (from 0) by difference."""
        top = np.maximum(self.number - 1, 0)
        rank = np.minimum(rank, top)
        first, last = np.zeros_like(rank), top - rank
        while (first < last).any():
            half = (first + last) // 2
            keep = middle - self._at(half) <= self._at(np.minimum(half + rank + 1, top)) - middle
            first, last = np.where(keep, first, np.minimum(half + 1, last)), np.where(keep, half, last)
        return np.maximum(middle - self._at(first), self._at(first + rank) - middle)

    def _at(self, place: Integers) -> Floats:
        if not len(self.values):
            return np.full(len(self.number), np.nan)
        found: Floats = self.values[np.minimum(self.begin + place, len(self.values) - 1)].astype(np.float64)
        return found

    def _known(self, values: Floats) -> Floats:
        return np.where(self.number > 0, values, np.nan)


def _sorted_by_owner(found: _Values) -> NDArray[Any]:
    """Values ordered by object, then by value; of up to 16 bits as one number with the object, which sorts fast."""
    values, owners = found.values, found.places.owners
    if values.dtype.kind not in "biu" or values.dtype.itemsize > 2:
        ranked: NDArray[Any] = values[np.lexsort((values, owners))]
        return ranked
    bias = 1 << 15 if values.dtype.kind == "i" else 0
    key: NDArray[Any] = owners.astype(np.uint32 if len(found.number) < 1 << 16 else np.uint64)
    key <<= 16
    key |= (values.astype(np.int32) + bias).astype(key.dtype)
    key.sort()
    key &= 0xFFFF
    return key.astype(np.int64) - bias


__all__ = ["Places", "edge_places", "measure_intensity", "places_of"]
