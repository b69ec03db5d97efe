"""Spots: small bright dots of about one size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.objects.sizes import in_pixels, refuse_wrong, wrong_sizes
from openhcs_engine.functions.objects.threshold import Smooth
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

_NAME: Final = "spots"
_NOISE: Final = 6.0
"""Standard deviations of the response that the noise of millions of pixels does not reach."""
_SD_OF_MAD: Final = 1.4826
_ROUNDING: Final = 1e-4
"""In contrasts of the image."""
_SMALLEST: Final = 2.0
"""Diameter in pixels below which a spot is a single pixel."""


def _wrong(threshold: Any = None, **parameters: Any) -> Iterator[tuple[str, str]]:
    sizes = list(wrong_sizes(parameters))
    yield from sizes
    diameters = [parameters.get("diameter_px"), parameters.get("diameter_um")]
    if all(value is None for value in diameters):
        yield "diameter_px", "it needs the diameter of a spot; give diameter_px or diameter_um."
    elif not sizes and (size := in_pixels(parameters, "diameter_px") or 0) < _SMALLEST:
        yield "diameter_px", f"the diameter of a spot, {size:g} px, must be at least {_SMALLEST:g} px."
    if threshold is not None and not (
        isinstance(threshold, int | float)
        and not isinstance(threshold, bool)
        and math.isfinite(threshold)
        and threshold > 0
    ):
        yield "threshold", f"threshold={threshold!r} must be a finite number of grey levels above 0."


@checked_by(_wrong)
@numpy
@special_outputs(("spots", "labels"))
@special_inputs(optional=("pixel_size",))
@any_library
def spots(
    stack: Pixels,
    diameter_px: float | None = None,
    diameter_um: float | None = None,
    threshold: float | None = None,
    pixel_size: float | None = None,
) -> tuple[Pixels, NDArray[np.uint32]]:
    """Find bright spots of one size in each plane of a stack, by the Laplacian of a Gaussian.

    In a pipeline, the labels are a side output of the name ``spots``.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype, without NaN; never written to.
    diameter_px, diameter_um
        Diameter of a spot, in pixels (at least 2) or in µm. One of them must be given.
    threshold
        How much a spot must stand out, in grey levels: of a disc of the diameter, about its height above its
        surroundings. Default: six standard deviations of the response, by its median absolute deviation.
    pixel_size
        Edge of a pixel in µm. In a pipeline it is the plate's, where the plate says it.

    Returns
    -------
    tuple
        ``stack`` itself, and the labels, uint32 ``(plane, y, x)``: discs of the diameter around the spots' centres, in
        each plane from 1 without gaps in the order of their centres. A pixel of two discs belongs to the nearer centre.

    Raises
    ------
    ValueError
        If no diameter is given, a parameter is out of range, or in µm without a pixel size.
    PixelValueError
        If the stack holds NaN or infinite pixels.

    Notes
    -----
    The response is ``-e/2 * sigma**2 * LoG`` with ``sigma = diameter / (2 * sqrt(2))``, which is strongest for discs
    of that diameter, and in the middle of one its height. Of centres within half a diameter, the strongest counts.

    *Source:* T. Lindeberg, "Feature detection with automatic scale selection", Int. J. Computer Vision 30 (1998).
    """
    require_stack(stack, _NAME)
    parameters = {
        "diameter_px": diameter_px,
        "diameter_um": diameter_um,
        "threshold": threshold,
        "pixel_size": pixel_size,
    }
    refuse_wrong(_NAME, _wrong(**parameters))
    diameter = in_pixels(parameters, "diameter_px")
    assert diameter is not None  # or it would have been refused
    return stack, np.stack([_spots(plane, diameter, threshold) for plane in stack])


def _spots(plane: Pixels, diameter: float, threshold: float | None) -> NDArray[np.uint32]:
    from scipy import ndimage

    grey = plane.astype(np.float32)
    if not np.isfinite(grey).all():
        raise PixelValueError("The stack holds NaN (not a number) or infinite pixels; replace them first.")
    sigma = diameter / (2 * math.sqrt(2))
    reach = int(4 * sigma + 0.5)  # SciPy's own; beyond the border, the image goes on as it came there
    padded = np.pad(grey - np.median(grey), reach, mode="reflect", reflect_type="odd")
    response: Smooth = ndimage.gaussian_laplace(padded, sigma)[reach:-reach, reach:-reach]
    response *= np.float32(-math.e / 2 * sigma**2)
    level = _noise(response, float(np.ptp(grey))) if threshold is None else threshold
    around = 2 * max(1, round(diameter / 2)) + 1
    peaks = (response == ndimage.maximum_filter(response, around, mode="nearest")) & (response > level)
    centres, count = ndimage.label(peaks, np.ones((3, 3), bool))  # of a flat top, one spot
    if not count:
        return np.zeros(plane.shape, np.uint32)
    distance, (rows, columns) = ndimage.distance_transform_edt(centres == 0, return_indices=True)
    return np.where(distance <= diameter / 2, centres[rows, columns], 0).astype(np.uint32)


def _noise(response: Smooth, contrast: float) -> float:
    """What the response to noise does not reach, nor to rounding where there is no noise."""
    spread = float(np.median(np.abs(response - np.median(response))))
    return max(_NOISE * _SD_OF_MAD * spread, _ROUNDING * contrast)
