"""Where a reporter is: in the nucleus or in the cytoplasm of each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import checked_by, numpy, special_inputs, special_outputs

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = "measure_translocation"
_SMOOTHING: Final = 2.0
"""Sigma in pixels: averages the noise of a camera away, so that the darkest pixels are those of the background."""
_DARKEST: Final = 2.0
"""Percent of a site's pixels that are taken as darker than its background; cells may cover all others."""
_AXES: Final = ("site", "z_index", "timepoint")


def _refusals(minimum_cytoplasm_px: Any = 20, **unused: object) -> Iterator[tuple[str, str]]:
    is_whole = isinstance(minimum_cytoplasm_px, int) and not isinstance(minimum_cytoplasm_px, bool)
    if not is_whole or minimum_cytoplasm_px < 1:
        yield (
            "minimum_cytoplasm_px",
            f"minimum_cytoplasm_px={minimum_cytoplasm_px!r} must be a whole number of pixels, at least 1.",
        )


@numpy
@checked_by(_refusals)
@special_inputs("nuclei", "cytoplasm", "plane_keys")
@special_outputs(("translocation", "measurements"))
@any_library
def measure_translocation(
    stack: Pixels,
    nuclei: NDArray[np.uint32],
    cytoplasm: NDArray[np.uint32],
    minimum_cytoplasm_px: int = 20,
    plane_keys: Sequence[Mapping[str, int | None]] | None = None,
) -> tuple[Pixels, pa.Table]:
    """Measure how much brighter a reporter is in the nucleus than in the cytoplasm of each cell.

    In a pipeline, nuclei and cytoplasms are those that earlier functions made, and the table is kept as
    ``tables/translocation.parquet``, a row a cell; a well's median ratio is ``Median_Translocation_ratio`` of
    ``tables/wells.parquet``.

    Parameters
    ----------
    stack
        ``(plane, y, x)`` of the reporter, any real dtype; never written to. Values that are not finite do not count.
    nuclei, cytoplasm
        Labels ``(plane, y, x)`` or ``(1, y, x)`` for all planes, 0 for none; a cytoplasm has its nucleus' number.
    minimum_cytoplasm_px
        Cells with fewer pixels of cytoplasm have no ratio.
    plane_keys
        Given by the engine: the coordinates of the planes. Without them, planes are sites, counted from 1.

    Returns
    -------
    tuple
        ``stack`` itself, and a pyarrow table with a row for each nucleus: ``object`` (its label, int64); the
        coordinates of its plane; ``nucleus_px`` and ``cytoplasm_px`` (int64); ``background``, ``nuclear_mean`` and
        ``cytoplasmic_mean`` in pixel values, background not subtracted, and ``ratio``, float64: that of both means
        after subtracting the background. ``ratio`` is null where the cytoplasm has fewer than
        ``minimum_cytoplasm_px`` pixels or is no brighter than the background.

    Raises
    ------
    ValueError
        If labels are not as large as the planes, or ``minimum_cytoplasm_px`` is no whole number above 0.

    Notes
    -----
    The background of a site is the second percentile of its plane, smoothed by a Gaussian of 2 pixels: cells may cover
    all but a fiftieth of it, and the noise of single pixels does not count.
    """
    import pyarrow as pa

    require_stack(stack, _NAME)
    for _, sentence in _refusals(minimum_cytoplasm_px):
        raise ValueError(f"{_NAME}: {sentence}")
    inner, outer = (_per_plane(name, each, stack) for name, each in (("nuclei", nuclei), ("cytoplasm", cytoplasm)))
    keys = plane_keys or [{"site": number} for number in range(1, len(stack) + 1)]
    tables = [
        _of_plane(plane, of_nuclei, of_cytoplasm, minimum_cytoplasm_px, key)
        for plane, of_nuclei, of_cytoplasm, key in zip(stack, inner, outer, keys, strict=True)
    ]
    return stack, pa.concat_tables(tables)


def _per_plane(name: str, labels: Any, stack: Pixels) -> NDArray[Any]:
    planes = np.asarray(labels)
    if planes.ndim != 3 or planes.shape[1:] != stack.shape[1:] or len(planes) not in (1, len(stack)):
        raise ValueError(
            f"{_NAME}: {name} has shape {planes.shape}; give labels (plane, y, x) for the stack's shape {stack.shape}."
        )
    return np.broadcast_to(planes, stack.shape)


def _of_plane(
    plane: Pixels, nuclei: NDArray[Any], cytoplasm: NDArray[Any], minimum: int, key: Mapping[str, int | None]
) -> pa.Table:
    """The cells of one plane."""
    import pyarrow as pa

    present = np.flatnonzero(np.bincount(nuclei.ravel()))
    objects = present[present > 0]
    finite = np.isfinite(plane)
    background = _background(plane, finite)
    nucleus_px, nuclear = _means(plane, nuclei, objects, finite)
    cytoplasm_px, cytoplasmic = _means(plane, cytoplasm, objects, finite)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN is null
        ratio = (nuclear - background) / (cytoplasmic - background)
        undefined = (cytoplasm_px < minimum) | ~(cytoplasmic > background)
    columns: dict[str, pa.Array] = {"object": pa.array(objects, pa.int64())}
    for axis in _AXES:
        if (value := key.get(axis)) is not None:
            columns[axis] = pa.array(np.full(objects.size, value), pa.int64())
    columns |= {
        "nucleus_px": pa.array(nucleus_px, pa.int64()),
        "cytoplasm_px": pa.array(cytoplasm_px, pa.int64()),
        "background": _numbers(np.full(objects.size, background)),
        "nuclear_mean": _numbers(nuclear),
        "cytoplasmic_mean": _numbers(cytoplasmic),
        "ratio": _numbers(np.where(undefined, np.nan, ratio)),
    }
    return pa.table(columns)


def _background(plane: Pixels, finite: NDArray[np.bool_]) -> float:
    from scipy import ndimage

    if not finite.any():
        return float("nan")
    grey = plane.astype(np.float64)
    filled = grey if finite.all() else np.where(finite, grey, np.median(grey[finite]))
    return float(np.percentile(ndimage.gaussian_filter(filled, _SMOOTHING, mode="nearest"), _DARKEST))


def _means(
    plane: Pixels, labels: NDArray[Any], objects: NDArray[np.intp], finite: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """How many pixels objects have, and their mean; NaN without any."""
    numbers = np.where(finite, labels, 0).ravel()
    size = int(objects.max(initial=0)) + 1
    numbers[numbers >= size] = 0  # of a cytoplasm without its nucleus
    counts = np.bincount(numbers, minlength=size)[objects]
    sums = np.bincount(numbers, weights=np.where(finite, plane, 0).ravel().astype(np.float64), minlength=size)[objects]
    return counts, np.divide(sums, counts, out=np.full(objects.size, np.nan), where=counts > 0)


def _numbers(values: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


__all__ = ["measure_translocation"]
