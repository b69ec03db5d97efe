"""How bright and how large nuclei are on a plate, from a sample of its images: fitted once, the same for all wells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.objects.regions import SMALLEST, Objects, Recipe, as_grey, find_objects, typical_diameter
from openhcs_engine.functions.objects.sizes import in_pixels, refuse_wrong, wrong_sizes
from openhcs_engine.memory import checked_by, numpy, special_inputs
from openhcs_engine.memory.stack import Array

_NAME: Final = "fit_nuclei"
_VALUES: Final = ("diameter_px", "minimum_area_px", "maximum_area_px")
"""Sizes that a fit may have."""
_FEWEST: Final = 20
"""Nuclei of which a distribution of areas says something."""
_LIKE_NUCLEI: Final = (0.3, 3.0)
"""Areas of objects that are counted as nuclei when their spread is estimated, in areas of a disc of the diameter."""
_SPREADS: Final = (3.0, 4.0)
"""How far the bounds lie below and above the median, in standard deviations of the logarithm of the area: below is
debris; above are nuclei before their division and polyploid ones, too."""
_SPREAD: Final = (0.25, 0.6)
"""Bounds of that standard deviation. Nuclei with one and two sets of chromosomes alone differ by 0.25."""
_SD_OF_MAD: Final = 1.4826
_OPEN: Final = Recipe(
    threshold="otsu", diameter=None, smoothing=None, split=True, depth=None, minimum=None, maximum=None, at_border=False
)
_EXAMPLE: Final = 512
"""Longest edge of the example, px."""
_WHITE: Final = 255
_BRIGHTEST: Final = 200
"""Of the image below the outlines."""


def _wrong(**parameters: Any) -> Iterator[tuple[str, str]]:
    yield from wrong_sizes(parameters)


@checked_by(_wrong)
@numpy
@special_inputs(optional=("pixel_size",))
def fit_nuclei(
    images: Sequence[Array],
    diameter_px: float | None = None,
    diameter_um: float | None = None,
    pixel_size: float | None = None,
) -> dict[str, Any]:
    """Threshold, diameter and bounds of the area of nuclei on a sample of a plate's images, for a ``PlateStep``.

    In a pipeline, ``PlateStep(fit_nuclei, sample=Sample(channels="DAPI"))`` makes ``segment_nuclei`` take its diameter
    and areas, and with ``threshold="fit"`` its threshold, from here. With ``Sample(wells="role:negative")`` they are
    those of the negative controls.

    Parameters
    ----------
    images
        Images ``(y, x)`` of one channel, each read twice.
    diameter_px, diameter_um
        Typical diameter of a nucleus, in pixels or in µm. Default: the median of the images' own.
    pixel_size
        Edge of a pixel in µm. In a pipeline it is the plate's, where the plate says it.

    Returns
    -------
    dict
        ``images`` that have nuclei, and the number of ``nuclei`` in them. ``threshold``, grey levels of a smoothed raw
        image: the median of the images' own. ``diameter_px``. ``minimum_area_px`` and ``maximum_area_px``.
        ``areas_px``, the areas from which they were chosen, sorted. ``example``, uint8 ``(y, x)``: a part of an image
        with the outlines of its nuclei. What the sample does not tell is left out, with a warning.

    Raises
    ------
    ValueError
        If a size is out of range, given twice, or in µm without a pixel size.
    PixelValueError
        If an image holds NaN or infinite pixels.

    Notes
    -----
    The threshold holds for pixels as they are in the raw images: behind a step that changes grey levels, take the sizes
    alone. An image of which nothing stands out has no say in anything, so that empty wells do no harm. Areas are
    distributed log-normally: the bounds lie three standard deviations below their median and four above it, where the
    spread is 1.48 times the median of the absolute deviations among objects that are from 0.3 to 3 times as large as a
    disc of the diameter, but at least 0.25 and at most 0.6. Of fewer than twenty nuclei no bounds are chosen.
    """
    parameters = {"diameter_px": diameter_px, "diameter_um": diameter_um, "pixel_size": pixel_size}
    refuse_wrong(_NAME, _wrong(**parameters))
    diameter = in_pixels(parameters, "diameter_px")
    if diameter is None:
        diameter = _typical_diameter(images)
    survey = None if diameter is None else _Survey.of(images, diameter)
    if diameter is None or survey is None or survey.example < 0:
        warnings.warn(
            f"none of the {len(images)} images of the sample shows nuclei; each plane is judged by itself", stacklevel=2
        )
        return {"images": 0, "nuclei": 0}
    fitted: dict[str, Any] = {
        "images": survey.images,
        "nuclei": int(survey.areas.size),
        "threshold": survey.threshold,
        "diameter_px": float(diameter),
        "areas_px": survey.areas,
        "example": _outlined(images[survey.example], find_objects(images[survey.example], survey.recipe)),
    }
    if survey.areas.size < _FEWEST:
        warnings.warn(
            f"the sample shows {survey.areas.size} nuclei in {len(images)} images, too few to choose bounds of the "
            "area from",
            stacklevel=2,
        )
        return fitted
    minimum, maximum = area_bounds(survey.areas, diameter)
    return {**fitted, "minimum_area_px": minimum, "maximum_area_px": maximum}


def area_bounds(areas: NDArray[np.int64], diameter: float) -> tuple[float, float]:
    """The smallest and the largest area of a nucleus, in pixels, from the areas of many and their diameter."""
    disc = math.pi / 4 * diameter**2
    low, high = (factor * disc for factor in _LIKE_NUCLEI)
    nuclei = areas[(areas >= low) & (areas <= high)]
    logs = np.log(nuclei if nuclei.size else [disc])
    middle = float(np.median(logs))
    spread = float(np.clip(_SD_OF_MAD * np.median(np.abs(logs - middle)), *_SPREAD))
    below, above = _SPREADS
    return math.exp(middle - below * spread), math.exp(middle + above * spread)


def wrong_fit(fit: object) -> Iterator[tuple[str, str]]:
    """What is wrong with something that a step gives as a fit."""
    if not isinstance(fit, Mapping):
        yield "fit", f"fit={fit!r} is not what fit_nuclei returns; leave it to a PlateStep(fit_nuclei)."
        return
    yield from wrong_sizes({name: fit.get(name) for name in _VALUES})
    threshold = fit.get("threshold", 0)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        yield "fit", f"the threshold of the fit, {threshold!r}, must be a finite number of grey levels."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """What the images of a sample show."""

    recipe: Recipe
    """The diameter and the threshold that all are given."""
    areas: NDArray[np.int64]
    """Of all nuclei, px, sorted."""
    images: int
    """Images that have nuclei."""
    example: int
    """The image with the middle number of nuclei; -1: none has any."""

    @classmethod
    def of(cls, images: Sequence[Array], diameter: float) -> _Survey:
        recipe = replace(_OPEN, diameter=diameter, minimum=SMALLEST * math.pi / 4 * diameter**2)
        thresholds, areas, counts = list[float](), list[NDArray[np.int64]](), list[int]()
        for image in images:
            objects = find_objects(image, recipe)
            areas.append(np.bincount(objects.labels.ravel())[1:])
            counts.append(objects.count)
            if objects.count and objects.threshold is not None:
                thresholds.append(objects.threshold)
        able = [position for position in np.argsort(counts, kind="stable") if counts[position]]
        return cls(
            recipe=replace(recipe, threshold=float(np.median(thresholds))) if thresholds else recipe,
            areas=np.sort(np.concatenate(areas)),
            images=len(able),
            example=int(able[len(able) // 2]) if able else -1,
        )

    @property
    def threshold(self) -> float:
        """Of grey levels."""
        return float(self.recipe.threshold)


def _typical_diameter(images: Sequence[Array]) -> float | None:
    """The median over the images that have any; None: none has."""
    own = (typical_diameter(as_grey(image), _OPEN) for image in images)
    known = [diameter for diameter in own if diameter is not None]
    return float(np.median(known)) if known else None


def _outlined(image: Array, objects: Objects) -> NDArray[np.uint8]:
    """The middle of an image, with the outlines of its objects in white."""
    middle = tuple(slice(start := max(0, (side - _EXAMPLE) // 2), start + _EXAMPLE) for side in image.shape)
    grey, labels = image[middle].astype(np.float32), objects.labels[middle]
    low, high = np.quantile(grey, (0.01, 0.998))
    shown: NDArray[np.uint8] = np.clip(
        (grey - low) * (_BRIGHTEST / max(float(high - low), 1e-6)), 0, _BRIGHTEST
    ).astype(np.uint8)
    below, right = (np.diff(labels.astype(np.int64), axis=axis) != 0 for axis in (0, 1))
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= below
    edge[:-1] |= below
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    shown[edge & (labels > 0)] = _WHITE
    return shown


__all__ = ["area_bounds", "fit_nuclei", "wrong_fit"]
