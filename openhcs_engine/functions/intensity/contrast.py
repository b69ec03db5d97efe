"""Local contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.dtype import restore_dtype

_NAME: Final = "enhance_contrast"
_GREYS: Final = 2**14
"""Grey levels in which scikit-image works; given as many, it does not stretch them again."""


@numpy(slice_by_slice=True)
@any_library
def enhance_contrast(
    stack: Pixels, clip_limit: float = 0.03, tile_size: int | Sequence[int] | None = None, bins: int = 256
) -> Pixels:
    """Even out the contrast of every plane by itself: contrast limited adaptive histogram equalisation (CLAHE).

    Each tile of a plane gets its own equalising curve; between the centres of tiles, curves are interpolated. All
    values stay between the plane's darkest and its brightest one: nothing is stretched over the range of the dtype.
    Intensities are no longer comparable between planes, nor within one: for looking and for segmentation, never for
    measuring.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype; never written to.
    clip_limit
        Above 0, at most 1: the largest share of a tile's pixels that one bin of its histogram may hold; what is beyond
        goes to the other bins. Higher values give more contrast and more noise; 1 limits nothing.
    tile_size
        Edge of a tile in pixels, or (y, x). Default: an eighth of the plane.
    bins
        Grey levels of a histogram, 2 to 16384.

    Returns
    -------
    ndarray
        Shape and dtype of ``stack``; integers are rounded half to even. A constant plane stays as it is.

    Raises
    ------
    ValueError
        If a parameter is out of range, or a plane holds NaN or infinite pixels.

    Notes
    -----
    scikit-image's ``equalize_adapthist(plane, tile_size, clip_limit, bins)``, whose result from 0 to 1 is brought to
    the range from the plane's minimum to its maximum. Needs about 40 bytes for each pixel of one plane. Method: Karel
    Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV (1994).
    """
    require_stack(stack, _NAME)
    tile = _tile(tile_size, stack.shape[1:])
    _check(clip_limit, bins)
    enhanced = empty_aligned(stack.shape, stack.dtype)
    for plane, target in zip(stack, enhanced, strict=True):
        target[...] = _equalized(plane, clip_limit, tile, bins)
    return enhanced


def _equalized(plane: Pixels, clip_limit: float, tile: tuple[int, int], bins: int) -> Pixels:
    """One plane, equalised within its own range."""
    low, high = float(plane.min()), float(plane.max())
    if not np.isfinite([low, high]).all():
        raise PixelValueError(f"{_NAME}: a plane holds NaN or infinite pixels; replace them first.")
    if low == high:
        return plane
    from skimage.exposure import equalize_adapthist

    equalized: NDArray[np.float64] = equalize_adapthist(_greys(plane, low, high), tile, clip_limit, bins)
    scaled = equalized.astype(np.float64)
    scaled *= high - low
    scaled += low
    np.clip(scaled, low, high, out=scaled)  # the last bit of the sum may lie beyond
    return restore_dtype(scaled, plane.dtype)


def _greys(plane: Pixels, low: float, high: float) -> NDArray[np.uint16]:
    """The plane in the grey levels of scikit-image, which takes floats of a fixed range only."""
    scaled = plane.astype(np.float64)
    scaled -= low
    scaled /= high - low
    scaled *= _GREYS - 1
    return np.rint(scaled, out=scaled).astype(np.uint16)


def _tile(size: int | Sequence[int] | None, shape: tuple[int, ...]) -> tuple[int, int]:
    if size is None:
        return max(shape[0] // 8, 1), max(shape[1] // 8, 1)
    edges = (size, size) if isinstance(size, int) else tuple(size)
    if len(edges) != 2 or not all(_fits(edge, limit) for edge, limit in zip(edges, shape, strict=True)):
        raise ValueError(
            f"{_NAME}: tile_size={size} must be one or two whole numbers of pixels, from 1 to the edge of the plane "
            f"{shape}."
        )
    return int(edges[0]), int(edges[1])


def _fits(edge: float, limit: int) -> bool:
    return 1 <= edge <= limit and edge == int(edge)


def _check(clip_limit: float, bins: int) -> None:
    if not 0 < clip_limit <= 1:
        raise ValueError(f"{_NAME}: clip_limit={clip_limit} must lie above 0 and be at most 1.")
    if not 2 <= bins <= _GREYS or bins != int(bins):
        raise ValueError(f"{_NAME}: bins={bins} must be a whole number from 2 to {_GREYS}.")
