"""Cells around nuclei, and what of them is no nucleus."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.objects.regions import SMOOTHING, gaussian
from openhcs_engine.functions.objects.sizes import in_pixels, refuse_wrong, wrong_sizes, wrong_threshold
from openhcs_engine.functions.objects.threshold import METHODS, Threshold, foreground_threshold, local_background
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

_CELLS: Final = "segment_cells"
_CYTOPLASM: Final = "cytoplasm"


def _wrong_cells(threshold: Any = "otsu", **parameters: Any) -> Iterator[tuple[str, str]]:
    yield from wrong_sizes(parameters, zero=("smoothing_px",))
    yield from wrong_threshold(threshold, METHODS)


@checked_by(_wrong_cells)
@numpy
@special_outputs(("cells", "labels"))
@special_inputs("nuclei", optional=("pixel_size",))
@any_library
def segment_cells(
    stack: Pixels,
    nuclei: NDArray[np.uint32],
    threshold: Threshold = "otsu",
    smoothing_px: float | None = None,
    reach_px: float | None = None,
    reach_um: float | None = None,
    pixel_size: float | None = None,
) -> tuple[Pixels, NDArray[np.uint32]]:
    """Find the cell around each nucleus in the planes of a stack that shows whole cells.

    In a pipeline, the nuclei are those that an earlier function made, and the labels are a side output of the name
    ``cells``. A cell has its nucleus' number and contains it; where nothing is brighter than the threshold around a
    nucleus, the cell is the nucleus.

    Parameters
    ----------
    stack
        ``(plane, y, x)``, any real dtype, without NaN; never written to. Cells are brighter than their surroundings.
    nuclei
        Labels ``(plane, y, x)`` or ``(1, y, x)`` for all planes, 0 for none.
    threshold
        As of :func:`segment_nuclei`.
    smoothing_px
        Sigma of the Gaussian, in pixels; 0: none. Default: a tenth of the nuclei's diameter.
    reach_px, reach_um
        How far a cell may reach beyond its nucleus, in pixels or in µm. Default: as far as it is bright.
    pixel_size
        Edge of a pixel in µm. In a pipeline it is the plate's, where the plate says it.

    Returns
    -------
    tuple
        ``stack`` itself, and the cells, uint32 ``(plane, y, x)``.

    Raises
    ------
    ValueError
        If a parameter is out of range, in µm without a pixel size, or the nuclei are not as large as the planes.
    PixelValueError
        If the stack holds NaN or infinite pixels.

    Notes
    -----
    A watershed from the nuclei. Its landscape rises with the distance from the nearest nucleus, in diameters of a
    nucleus, and falls with brightness, in units of the foreground's above the threshold: cells meet half-way between
    their nuclei or in a dark line near by. Cells grow into the neighbourhood of nuclei that :func:`segment_nuclei` left
    out at the border; keep those (``border="keep"``), or limit the reach, where that matters.

    *Source:* S. Beucher and F. Meyer, "The morphological approach to segmentation: the watershed transformation", in
    Mathematical Morphology in Image Processing (1993).
    """
    require_stack(stack, _CELLS)
    parameters = {
        "threshold": threshold,
        "smoothing_px": smoothing_px,
        "reach_px": reach_px,
        "reach_um": reach_um,
        "pixel_size": pixel_size,
    }
    refuse_wrong(_CELLS, _wrong_cells(**parameters))
    seeds = _per_plane(_CELLS, "nuclei", nuclei, stack.shape)
    reach = in_pixels(parameters, "reach_px")
    cells = [_cells(plane, seed, threshold, smoothing_px, reach) for plane, seed in zip(stack, seeds, strict=True)]
    return stack, np.stack(cells)


def _wrong_cytoplasm(
    ring_diameters: Any = None, gap_diameters: Any = 0.0, **parameters: Any
) -> Iterator[tuple[str, str]]:
    sizes = list(wrong_sizes(parameters))
    yield from sizes
    alone = "cells" in parameters and parameters["cells"] is None
    rings = [parameters.get(ring) for ring in ("ring_px", "ring_um")] + [ring_diameters]
    if alone and all(ring is None for ring in rings):
        yield (
            "ring_px",
            (
                "no function before it makes 'cells', and no ring is given; let segment_cells run before it, or give "
                "the width of a ring around the nuclei as ring_px, ring_um or ring_diameters."
            ),
        )
    if ring_diameters is not None and not (_is_number(ring_diameters) and ring_diameters > 0):
        yield "ring_diameters", f"ring_diameters={ring_diameters!r} must be a finite number above 0."
    elif ring_diameters is not None and any(ring is not None for ring in rings[:2]):
        yield "ring_diameters", "ring_diameters says the width of the ring that another parameter says, too; keep one."
    if not (_is_number(gap_diameters) and gap_diameters >= 0):
        yield "gap_diameters", f"gap_diameters={gap_diameters!r} must be a finite number, at least 0."
    elif gap_diameters and not alone and all(ring is None for ring in rings):
        yield "gap_diameters", "gap_diameters is the distance of a ring, but no ring is given; give ring_diameters."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@checked_by(_wrong_cytoplasm)
@numpy
@special_outputs(("cytoplasm", "labels"))
@special_inputs("nuclei", optional=("cells", "pixel_size"))
@any_library
def cytoplasm(
    stack: Pixels,
    nuclei: NDArray[np.uint32],
    cells: NDArray[np.uint32] | None = None,
    ring_px: float | None = None,
    ring_um: float | None = None,
    ring_diameters: float | None = None,
    gap_diameters: float = 0.0,
    pixel_size: float | None = None,
) -> tuple[Pixels, NDArray[np.uint32]]:
    """Cells without their nuclei, or rings around nuclei.

    In a pipeline, nuclei and cells are those that earlier functions made, and the labels are a side output of the name
    ``cytoplasm``. A cytoplasm has its nucleus' number. A number is missing where a cell is no larger than its nucleus.

    Parameters
    ----------
    stack
        ``(plane, y, x)``; any real dtype; never written to. Only its shape matters.
    nuclei, cells
        Labels ``(plane, y, x)`` or ``(1, y, x)`` for all planes, 0 for none; a cell has its nucleus' number.
    ring_px, ring_um
        Width of a ring around each nucleus, in pixels or in µm. Where rings meet, a pixel belongs to the nearest
        nucleus. With cells, rings end where their cell ends. Default: the whole cell.
    ring_diameters
        The same in diameters of the plane's nuclei: of a disc of their mean area.
    gap_diameters
        How far from the nuclei a ring begins, in the same diameters: next to a nucleus, its blurred edge shines.
    pixel_size
        Edge of a pixel in µm. In a pipeline it is the plate's, where the plate says it.

    Returns
    -------
    tuple
        ``stack`` itself, and the cytoplasms, uint32 ``(plane, y, x)``.

    Raises
    ------
    ValueError
        If there are neither cells nor a ring, a parameter is out of range, in µm without a pixel size, or the labels
        are not as large as the planes.
    """
    require_stack(stack, _CYTOPLASM)
    parameters = {
        "cells": cells,
        "ring_px": ring_px,
        "ring_um": ring_um,
        "ring_diameters": ring_diameters,
        "gap_diameters": gap_diameters,
        "pixel_size": pixel_size,
    }
    refuse_wrong(_CYTOPLASM, _wrong_cytoplasm(**parameters))
    inner = _per_plane(_CYTOPLASM, "nuclei", nuclei, stack.shape)
    ring = in_pixels(parameters, "ring_px")
    outer = None if cells is None else _per_plane(_CYTOPLASM, "cells", cells, stack.shape)
    if ring is None and ring_diameters is None:
        assert outer is not None  # or it would have been refused
        return stack, np.where(inner == 0, outer, np.uint32(0))
    rings = np.stack([_ring(plane, ring, ring_diameters, gap_diameters) for plane in inner])
    return stack, rings if outer is None else np.where(rings == outer, rings, np.uint32(0))


def _cells(
    plane: Pixels, nuclei: NDArray[np.uint32], threshold: Threshold, smoothing: float | None, reach: float | None
) -> NDArray[np.uint32]:
    from scipy import ndimage
    from skimage.segmentation import watershed

    grey = plane.astype(np.float32)
    if not np.isfinite(grey).all():
        raise PixelValueError("The stack holds NaN (not a number) or infinite pixels; replace them first.")
    if not nuclei.any():
        return nuclei.copy()
    diameter = _mean_diameter(nuclei)
    smooth = gaussian(grey, 2 * SMOOTHING * diameter if smoothing is None else smoothing)
    if threshold == "local":
        smooth -= local_background(smooth, 2 * diameter)
    level = foreground_threshold(smooth) if isinstance(threshold, str) else float(threshold)
    if level is None:
        return nuclei.copy()
    smooth -= np.float32(level)
    inside = nuclei > 0
    body = (smooth > 0) | inside
    distance = ndimage.distance_transform_edt(~inside).astype(np.float32)
    if reach is not None:
        body &= distance <= reach
    brightness = float(smooth[body].mean())
    landscape = distance / np.float32(diameter)
    if brightness > 0:
        landscape -= smooth / np.float32(brightness)
    cells: NDArray[Any] = watershed(landscape, nuclei.astype(np.int32), mask=body)  # type: ignore[no-untyped-call] # skimage
    return cells.astype(np.uint32)


def _ring(
    nuclei: NDArray[np.uint32], width: float | None, width_diameters: float | None, gap_diameters: float
) -> NDArray[np.uint32]:
    """A ring around each nucleus of a plane, as wide as one of both says."""
    from scipy import ndimage

    if not nuclei.any():
        return nuclei.copy()
    diameter = _mean_diameter(nuclei)
    begin = gap_diameters * diameter
    end = begin + (width if width_diameters is None else width_diameters * diameter)  # type: ignore[operator] # one is
    distance, (rows, columns) = ndimage.distance_transform_edt(nuclei == 0, return_indices=True)
    return np.where((distance > begin) & (distance <= end), nuclei[rows, columns], np.uint32(0))


def _mean_diameter(labels: NDArray[np.uint32]) -> float:
    """Of a disc of the objects' mean area, in pixels; there is at least one object."""
    areas = np.bincount(labels.ravel())[1:]
    return 2 * math.sqrt(float(areas[areas > 0].mean()) / math.pi)


def _per_plane(function: str, name: str, labels: Any, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Labels for each plane of a stack; ValueError for what is none."""
    given = np.asarray(labels)
    if (
        given.dtype.kind not in "biu"
        or given.ndim != 3
        or given.shape[1:] != shape[1:]
        or len(given) not in (1, shape[0])
    ):
        raise ValueError(
            f"{function}: {name} has shape {given.shape} and dtype {given.dtype}; give whole numbers (plane, y, x) for "
            f"the stack's shape {shape}, or one plane for all."
        )
    if given.size and int(given.min()) < 0:
        raise ValueError(f"{function}: {name} holds numbers below 0; objects are counted from 1, and 0 is none.")
    return np.broadcast_to(given.astype(np.uint32, copy=False), shape)
