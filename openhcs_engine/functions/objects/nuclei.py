"""Nuclei, and whatever else is brighter than what is around it and roundish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.objects.nuclei_fit import wrong_fit
from openhcs_engine.functions.objects.regions import Objects, Recipe, find_objects
from openhcs_engine.functions.objects.sizes import in_pixels, refuse_wrong, wrong_choice, wrong_sizes, wrong_threshold
from openhcs_engine.functions.objects.threshold import FIT, METHODS
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

_NAME: Final = "segment_nuclei"
_BORDERS: Final = ("exclude", "keep")
_MADE_LATER: Final = object()
"""In place of a fit that a plate step makes when the plan is run."""


def _wrong(
    threshold: Any = "otsu", border: Any = "exclude", split: Any = True, fit: Any = _MADE_LATER, **parameters: Any
) -> Iterator[tuple[str, str]]:
    sizes = list(wrong_sizes(parameters, zero=("smoothing_px", "split_depth_px")))
    yield from sizes
    if threshold != FIT:
        yield from wrong_threshold(threshold, (*METHODS, FIT))
    elif fit is None:
        yield (
            "threshold",
            f'threshold="{FIT}" is that of a plate step; put PlateStep(fit_nuclei, sample=Sample(channels=…)) first, '
            "or choose another threshold.",
        )
    if fit is not _MADE_LATER and fit is not None:
        yield from wrong_fit(fit)
    yield from wrong_choice("border", border, _BORDERS)
    if not isinstance(split, bool):
        yield "split", f"split={split!r} is neither True nor False; give one of them."
    if not sizes:
        low, high = (in_pixels(parameters, name) for name in ("minimum_area_px", "maximum_area_px"))
        if low is not None and high is not None and low > high:
            yield "maximum_area_px", f"the smallest area, {low:g} px, is above the largest one, {high:g} px."


@checked_by(_wrong)
@numpy
@special_outputs(("nuclei", "labels"), ("nuclei_summary", "table"))
@special_inputs(optional=("pixel_size", ("fit", "fit_nuclei")))
@any_library
def segment_nuclei(
    stack: Pixels,
    threshold: Literal["otsu", "local", "fit"] | float = "otsu",
    diameter_px: float | None = None,
    diameter_um: float | None = None,
    smoothing_px: float | None = None,
    split: bool = True,
    split_depth_px: float | None = None,
    minimum_area_px: float | None = None,
    maximum_area_px: float | None = None,
    minimum_area_um2: float | None = None,
    maximum_area_um2: float | None = None,
    border: Literal["exclude", "keep"] = "exclude",
    pixel_size: float | None = None,
    fit: Mapping[str, Any] | None = None,
) -> tuple[Pixels, NDArray[np.uint32], dict[str, list[Any]]]:
    """Find nuclei in each plane of a stack: smooth, threshold, fill, split what touches, choose by size and border.

    In a pipeline, the labels are a side output of the name ``nuclei``, and ``nuclei_summary`` is a table with a row a
    plane. Smoothing and splitting scale with the diameter of the nuclei, which is estimated from each plane unless the
    step or ``fit_nuclei`` gives it. Give it where planes shall be treated alike.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype, without NaN; never written to. Nuclei are brighter than their surroundings.
    threshold
        ``otsu``: Otsu's of the smoothed plane. ``local``: the same after subtracting the background of tiles that are
        five diameters wide, for uneven illumination. ``fit``: that of the plate step ``fit_nuclei``, the same for the
        whole plate. Or a number of grey levels of the smoothed plane.
    diameter_px, diameter_um
        Typical diameter of a nucleus, in pixels or in µm.
    smoothing_px
        Sigma of the Gaussian, in pixels; 0: none. Default: a twentieth of the diameter, at least 0.6.
    split
        Whether nuclei that touch are taken apart where they are narrow.
    split_depth_px
        By how much a neck must be narrower than the nuclei on both sides, in pixels from its outline to its middle.
        Default: 0.03 diameters, at least 0.45. From 1 on, distances are counted on the grid of pixels.
    minimum_area_px, maximum_area_px
        Smallest and largest area of a nucleus, in pixels. Default: a tenth of the area of a disc of the diameter (at
        least 9 pixels), and no limit.
    minimum_area_um2, maximum_area_um2
        The same in µm².
    border
        ``exclude``: nuclei that touch the border of the image are left out. ``keep``: they are not.
    pixel_size
        Edge of a pixel in µm. In a pipeline it is the plate's, where the plate says it.
    fit
        What :func:`fit_nuclei` returned. In a pipeline with such a plate step it is that of the stack's channel. Its
        diameter and areas stand in for those that are not given.

    Returns
    -------
    tuple
        ``stack`` itself; the labels, uint32 ``(plane, y, x)``, in each plane from 1 without gaps in the order of their
        first pixels, 0 for none; and for each plane of the stack, from 1: ``objects``, the ``threshold`` (above the
        background where it is local; null where nothing stands out), ``diameter_px`` (null where there is nothing to
        estimate it from), ``minimum_area_px`` (of the smallest one that counts; null where there is nothing to choose
        from), and how many objects were left out as ``at_border``, ``too_small`` or ``too_large``.

    Raises
    ------
    ValueError
        If a parameter is out of range, a size is given twice, or in µm without a pixel size.
    PixelValueError
        If the stack holds NaN or infinite pixels.

    Notes
    -----
    An image of one value, and one of which nothing stands out, have no objects. Holes are filled; pixels that touch by
    a corner belong together. Nuclei are split along the basins of the distance to their outline. The markers are true
    h-maxima: each peak stands more than the depth above the highest pass to a higher or equally high one. Measured on
    planted ellipses of 14 to 60 pixels, at a noise of up to a fifth of their height: 99 of 100 pairs whose centres are
    1.7 mean radii apart are split, at 1.6 at least 95; of single ones of axes up to 1 : 1.8, at 14 pixels 2 or 3 of 100
    are cut, and from 17 on at most 1.

    *Source:* N. Otsu, IEEE Trans. SMC 9 (1979); L. Vincent, "Morphological grayscale reconstruction in image analysis",
    IEEE Trans. Image Processing 2 (1993).
    """
    require_stack(stack, _NAME)
    parameters = {
        "threshold": threshold,
        "diameter_px": diameter_px,
        "diameter_um": diameter_um,
        "smoothing_px": smoothing_px,
        "split": split,
        "split_depth_px": split_depth_px,
        "minimum_area_px": minimum_area_px,
        "maximum_area_px": maximum_area_px,
        "minimum_area_um2": minimum_area_um2,
        "maximum_area_um2": maximum_area_um2,
        "border": border,
        "pixel_size": pixel_size,
        "fit": fit,
    }
    refuse_wrong(_NAME, _wrong(**parameters))
    fitted = {} if fit is None else fit
    diameter, minimum, maximum = (
        fitted.get(name) if (given := in_pixels(parameters, name)) is None else given
        for name in ("diameter_px", "minimum_area_px", "maximum_area_px")
    )
    recipe = Recipe(
        # Where the sample had no nuclei, the fit has a warning instead of values, and each plane is judged by itself.
        threshold=fitted.get("threshold", "otsu") if threshold == "fit" else threshold,
        diameter=diameter,
        smoothing=smoothing_px,
        split=split,
        depth=split_depth_px,
        minimum=minimum,
        maximum=maximum,
        at_border=border == "keep",
    )
    planes = [find_objects(plane, recipe) for plane in stack]
    return stack, np.stack([each.labels for each in planes]), _summary(planes)


def _summary(planes: list[Objects]) -> dict[str, list[Any]]:
    return {
        "plane": list(range(1, len(planes) + 1)),
        "objects": [each.count for each in planes],
        "threshold": [each.threshold for each in planes],
        "diameter_px": [each.diameter for each in planes],
        "minimum_area_px": [each.minimum for each in planes],
        "at_border": [each.at_border for each in planes],
        "too_small": [each.too_small for each in planes],
        "too_large": [each.too_large for each in planes],
    }
