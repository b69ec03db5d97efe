"""The measurements there are: their names as CellProfiler writes them, units, and where each comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

DEFAULT_FEATURES: Final = ("shape", "intensity", "location", "neighbors", "count")
"""Computed by this product, in one pass over the labels."""
CP_MEASURE_FEATURES: Final = ("texture", "granularity", "radial_distribution", "zernike")
"""Computed by the package cp_measure."""
FEATURES: Final = (*DEFAULT_FEATURES, *CP_MEASURE_FEATURES, "regionprops")
"""All groups of measurements; those of ``regionprops`` have no name in CellProfiler and keep scikit-image's."""

_PIXELS, _SQUARE, _NONE, _VALUE, _NUMBER, _DEGREES, _PERCENT = (
    "px", "px²", "", "pixel value", "number", "degrees", "percent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of an object, of each channel or of its shape alone."""

    feature: str
    """The group by which it is asked for."""
    name: str
    """``Group_Measurement``; ``{scale}`` stands for what it was measured by, and ``{channel}`` for the channel."""
    unit: str
    about: str
    """What it is, and where others have something else."""
    is_whole: bool = False
    """True: a whole number."""

    @property
    def has_channel(self) -> bool:
        """True: there is one column a channel."""
        return "{channel}" in self.name

    @property
    def key(self) -> str:
        """The name without channel and scale: how its values are handed about, and how it may be asked for."""
        return self.name.replace("_{channel}", "").replace("_{scale}", "")

    def column(self, channel: str = "", scale: str = "") -> str:
        """The column's name behind the objects' own."""
        return self.name.format(channel=channel, scale=scale)


def _shape() -> Iterator[Measurement]:
    moments = "of the ellipse with the same second moments"
    rows = (
        ("Area", _SQUARE, "pixels", True),
        ("BoundingBoxArea", _SQUARE, "of the upright box", True),
        ("BoundingBoxMaximum_X", _PIXELS, "the column behind the last one, counted from 0", True),
        ("BoundingBoxMaximum_Y", _PIXELS, "the row behind the last one, counted from 0", True),
        ("BoundingBoxMinimum_X", _PIXELS, "the first column, counted from 0", True),
        ("BoundingBoxMinimum_Y", _PIXELS, "the first row, counted from 0", True),
        ("Center_X", _PIXELS, "mean column; the middle of the first pixel is 0", False),
        ("Center_Y", _PIXELS, "mean row; the middle of the first pixel is 0", False),
        ("Compactness", _NONE, "Perimeter² / (4π Area): 1 for a circle; 0 for a single pixel", False),
        ("ConvexArea", _SQUARE, "pixels of the convex hull", True),
        ("Eccentricity", _NONE, f"{moments}, 0 for a circle; null for a single pixel", False),
        ("EquivalentDiameter", _PIXELS, "of the circle of the same area", False),
        ("EulerNumber", _NUMBER, "parts less holes; pixels that share a corner are connected", True),
        ("Extent", _NONE, "Area / BoundingBoxArea", False),
        ("FormFactor", _NONE, "4π Area / Perimeter²; null where the perimeter is 0 (cp_measure: infinite)", False),
        ("MajorAxisLength", _PIXELS, moments, False),
        (
            "MaxFeretDiameter",
            _PIXELS,
            "largest width, between the middles of pixels: a side of 20 pixels is 19, a pixel 0 "
            "(scikit-image's ``feret_diameter_max`` goes round the pixels: 20 and more, 1)",
            False,
        ),
        ("MaximumRadius", _PIXELS, "largest distance of its pixels to the nearest one outside", False),
        ("MeanRadius", _PIXELS, "mean of the same", False),
        ("MedianRadius", _PIXELS, "median of the same", False),
        ("MinFeretDiameter", _PIXELS, "smallest width, between the middles of pixels", False),
        ("MinorAxisLength", _PIXELS, moments, False),
        (
            "Orientation",
            _DEGREES,
            f"of the major axis {moments}: 0 is vertical, 90 or -90 horizontal (scikit-image: the same in radians); "
            "null where no direction is longer",
            False,
        ),
        (
            "Perimeter",
            _PIXELS,
            "through the middles of the outermost pixels, with 4 neighbours; 0 for a single pixel (scikit-image's "
            "``perimeter_crofton`` is another estimate)",
            False,
        ),
        ("Solidity", _NONE, "Area / ConvexArea", False),
    )
    for name, unit, about, is_whole in rows:
        yield Measurement("shape", f"AreaShape_{name}", unit, about, is_whole)


def _intensity() -> Iterator[Measurement]:
    edge = "of its pixels with a straight neighbour in the image that is not its own"
    quartile = "as ``numpy.percentile`` (CellProfiler: n · share instead of (n - 1) · share)"
    rows = (
        ("IntegratedIntensity", _VALUE, "sum"),
        ("IntegratedIntensityEdge", _VALUE, f"sum {edge}"),
        ("LowerQuartileIntensity", _VALUE, quartile),
        ("MADIntensity", _VALUE, "median of the absolute differences from the median, not scaled"),
        ("MassDisplacement", _PIXELS, "from the centre to the centre of mass; null where the sum is 0"),
        ("MaxIntensity", _VALUE, "largest"),
        ("MaxIntensityEdge", _VALUE, f"largest {edge}"),
        ("MeanIntensity", _VALUE, "mean (CellProfiler divides pixel values by the largest that the file can hold)"),
        ("MeanIntensityEdge", _VALUE, f"mean {edge}"),
        ("MedianIntensity", _VALUE, quartile),
        ("MinIntensity", _VALUE, "smallest"),
        ("MinIntensityEdge", _VALUE, f"smallest {edge}"),
        ("StdIntensity", _VALUE, "standard deviation, divided by n"),
        ("StdIntensityEdge", _VALUE, f"standard deviation {edge}"),
        ("UpperQuartileIntensity", _VALUE, quartile),
    )
    for name, unit, about in rows:
        yield Measurement("intensity", f"Intensity_{name}_{{channel}}", unit, about)


def _location() -> Iterator[Measurement]:
    zero = "always 0: a plane has one z"
    for axis, what in (("X", "column"), ("Y", "row"), ("Z", zero)):
        mass = f"{what} of the centre of mass; null where the sum is 0" if axis != "Z" else zero
        yield Measurement("location", f"Location_CenterMassIntensity_{axis}_{{channel}}", _PIXELS, mass)
    for axis, what in (("X", "mean column"), ("Y", "mean row"), ("Z", zero)):
        yield Measurement("location", f"Location_Center_{axis}", _PIXELS, what)
    for axis, what in (("X", "column"), ("Y", "row"), ("Z", zero)):
        most = f"{what} of the brightest pixel, of several the first one" if axis != "Z" else zero
        yield Measurement("location", f"Location_MaxIntensity_{axis}_{{channel}}", _PIXELS, most)


def _neighbors() -> Iterator[Measurement]:
    rows = (
        ("AngleBetweenNeighbors", _DEGREES, "between the nearest two objects, seen from the object", False),
        ("FirstClosestDistance", _PIXELS, "from centre to centre; null without another object", False),
        ("FirstClosestObjectNumber", _NUMBER, "column ``object`` of the nearest one (cp_measure 0.3: its own)", True),
        ("NumberOfNeighbors", _NUMBER, "objects beside it (cp_measure 0.3 counts none for ``Expanded``)", True),
        ("PercentTouching", _PERCENT, "of its outline, pixels beside another object", False),
        ("SecondClosestDistance", _PIXELS, "as the first; null without a third object", False),
        ("SecondClosestObjectNumber", _NUMBER, "as the first", True),
    )
    for name, unit, about, is_whole in rows:
        yield Measurement("neighbors", f"Neighbors_{name}_{{scale}}", unit, about, is_whole)


HARALICK: Final = (
    "AngularSecondMoment", "Contrast", "Correlation", "Variance", "InverseDifferenceMoment", "SumAverage",
    "SumVariance", "SumEntropy", "Entropy", "DifferenceVariance", "DifferenceEntropy", "InfoMeas1", "InfoMeas2",
)  # fmt: skip
GRAY_LEVELS: Final = 256
GRANULAR_SPECTRUM: Final = 16
RINGS: Final = 4
ZERNIKE_DEGREE: Final = 9


def zernike_orders() -> list[tuple[int, int]]:
    """Radial and azimuthal degree of the Zernike polynomials up to degree 9."""
    return [(n, m) for n in range(ZERNIKE_DEGREE + 1) for m in range(n % 2, n + 1, 2)]


def _cp_measure() -> Iterator[Measurement]:
    for direction in range(4):
        for name in HARALICK:
            about = "Haralick's feature of the grey levels of pairs of pixels; null without a pair"
            yield Measurement(
                "texture", f"Texture_{name}_{{channel}}_{{scale}}_{direction:02d}_{GRAY_LEVELS}", _NONE, about
            )
    for step in range(1, GRANULAR_SPECTRUM + 1):
        about = f"signal that an opening of radius {step} takes, at a quarter of the resolution"
        yield Measurement("granularity", f"Granularity_{step}_{{channel}}", _PERCENT, about)
    for name, about in (
        ("FracAtD", "share of the intensity in the ring"),
        ("MeanFrac", "that share by the ring's share of pixels"),
        ("RadialCV", "variation between eight slices of the ring"),
    ):
        for ring in range(1, RINGS + 1):
            yield Measurement(
                "radial_distribution", f"RadialDistribution_{name}_{{channel}}_{ring}of{RINGS}", _NONE, about
            )
    for n, m in zernike_orders():
        yield Measurement("zernike", f"AreaShape_Zernike_{n}_{m}", _NONE, "magnitude in the smallest circle around it")


def _regionprops() -> Iterator[Measurement]:
    yield Measurement("regionprops", "AreaShape_area_filled", _SQUARE, "pixels with the holes filled", True)
    yield Measurement("regionprops", "AreaShape_feret_diameter_max", _PIXELS, "largest width round the pixels")
    yield Measurement("regionprops", "AreaShape_perimeter_crofton", _PIXELS, "by Crofton's formula, 4 directions")


def _every() -> Iterator[Measurement]:
    yield from _shape()
    yield from _intensity()
    yield from _location()
    yield from _neighbors()
    yield Measurement("count", "Number_Object_Number", _NUMBER, "the object's label, as in the column ``object``", True)
    yield from _cp_measure()
    yield from _regionprops()


MEASUREMENTS: Final = tuple(_every())
"""All measurements, in the order of their columns."""
SCIKIT_IMAGE: Final = tuple(each.name.partition("_")[2] for each in _regionprops())
"""Properties of ``skimage.measure.regionprops_table``."""


def source_of(measurement: Measurement) -> str:
    """Who computes a measurement, and what it equals."""
    match measurement.feature:
        case feature if feature in CP_MEASURE_FEATURES:
            return "cp_measure"
        case "regionprops":
            return "scikit-image"
        case "neighbors":
            return "own; CellProfiler"
        case _:
            return "own; cp_measure"


def chosen(features: str | Sequence[str]) -> tuple[Measurement, ...]:
    """The measurements that are meant by names of groups and of single measurements, as ``AreaShape_Area``.

    Raises
    ------
    ValueError
        If a name is unknown, or there is none.
    """
    names = _names(features)
    wanted = {each.key for each in MEASUREMENTS if each.feature in names or each.key in names}
    unknown = [name for name in names if name not in FEATURES and name not in _KEYS]
    if unknown:
        close = get_close_matches(unknown[0], (*FEATURES, *_KEYS), n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"features names {', '.join(map(repr, unknown))}, which no measurement is called. The groups are "
            f"{', '.join(FEATURES)}; single measurements are called as 'AreaShape_Area'.{meant}"
        )
    if not wanted:
        raise ValueError(f"features is empty; name at least one of {', '.join(FEATURES)}.")
    return tuple(each for each in MEASUREMENTS if each.key in wanted)


def known_features(features: object) -> set[str]:
    """The groups that are meant, as far as they are known: what else is wrong with them can be said, too."""
    try:
        names = _names(features)  # type: ignore[arg-type] # what a user gave
    except ValueError:
        return set()
    return {each.feature for each in MEASUREMENTS if each.feature in names or each.key in names}


def _names(features: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(features, str):
        features = (features,)
    if not isinstance(features, Sequence) or not all(isinstance(name, str) for name in features):
        raise ValueError(f"features={features!r} must be names of measurements, as ['shape', 'intensity'].")
    return tuple("neighbors" if name == "neighbours" else name for name in features)


_KEYS: Final = frozenset(each.key for each in MEASUREMENTS)


def column_prefix(objects: str) -> str:
    """How the columns of objects begin: ``Nuclei`` of ``nuclei``."""
    return objects[:1].upper() + objects[1:]


def column_channels(labels: Iterable[str], numbers: Iterable[int]) -> dict[int, str]:
    """Channels' names as parts of columns' names, by number: letters and digits alone, each name once."""
    plain = {
        number: re.sub(r"[^A-Za-z0-9]+", "", label) or f"w{number}"
        for number, label in zip(numbers, labels, strict=True)
    }
    twice = {name for name in plain.values() if list(plain.values()).count(name) > 1}
    return {number: f"{name}w{number}" if name in twice else name for number, name in plain.items()}


__all__ = [
    "CP_MEASURE_FEATURES",
    "DEFAULT_FEATURES",
    "FEATURES",
    "MEASUREMENTS",
    "Measurement",
    "chosen",
    "column_channels",
    "column_prefix",
    "known_features",
    "source_of",
]
