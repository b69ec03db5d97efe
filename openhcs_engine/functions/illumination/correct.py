"""Dividing images by the field of light."""

from __future__ import annotations

import math
import os
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.illumination.field_file import read_field
from openhcs_engine.functions.illumination.flat_field import FlatField
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.artifacts import parameter_files, special_inputs
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.cast_loss import Cast, tell_casts
from openhcs_engine.memory.conversion.dtype import restore_dtype

_NAME: Final = "correct_illumination"
_EXACT_IN_FLOAT32: Final = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.uint16), np.dtype(np.int16))


@numpy(slice_by_slice=True)
@special_inputs("flat_field")
@parameter_files("flat_field")
@any_library
def correct_illumination(
    stack: Pixels,
    flat_field: FlatField | NDArray[Any] | str | os.PathLike[str],
    offset: float | None = None,
    pedestal: float = 0.0,
) -> Pixels:
    """Make light even: each plane becomes ``(plane - offset) / field + pedestal``.

    Parameters
    ----------
    stack
        ``(plane, y, x)`` of one channel, any real dtype but bool; never written to.
    flat_field
        What :func:`flat_field` found; or a field ``(y, x)`` of numbers above 0, as an array or the path of a ``.npy``
        or TIFF file (in a pipeline an absolute one), by which pixels are divided as it is: a field of mean 1 keeps the
        mean of an evenly lit image. In a pipeline a result of this name is taken unless the step gives one.
    offset
        Counts of a pixel without light. Default: the offset that belongs to a ``FlatField``, 0 for arrays and files.
    pedestal
        Counts that are added at the end. Integers without sign hold nothing below 0: where backgrounds are hardly above
        the offset, their noise is clipped unless a pedestal lifts it.

    Returns
    -------
    ndarray
        Shape and dtype of ``stack``; integers are rounded half to even and clipped, and clipped values are told with
        the well.

    Raises
    ------
    ValueError
        If the field has another shape than the planes, holds values that are not above 0, NaN or infinite, or the
        offset is no number.
    PlaneReadError
        If the file cannot be read.

    Notes
    -----
    Computed in float32 for integers of 8 and 16 bits and floats up to 32, in float64 for others. NaN stays NaN. Pixels
    that the camera cut off stay wrong: their light is not known.
    """
    require_stack(stack, _NAME)
    if stack.dtype.kind == "b":
        raise ValueError(f"{_NAME} works on grey values, but the stack is a mask (bool).")
    field, dark = _field_and_offset(flat_field, offset)
    _check(field, dark, pedestal, stack.shape[1:])
    small = stack.dtype in _EXACT_IN_FLOAT32 or (stack.dtype.kind == "f" and stack.dtype.itemsize <= 4)
    number = np.float32 if small else np.float64
    gain = (1 / field.astype(np.float64)).astype(number)
    corrected = empty_aligned(stack.shape, stack.dtype)
    casts: list[Cast] = []
    for band in row_bands(stack.shape):
        pixels: Pixels = stack[band].astype(number)
        pixels -= number(dark)
        pixels *= gain[band[1:]]
        pixels += number(pedestal)
        corrected[band] = restore_dtype(pixels, stack.dtype, casts.append)
    tell_casts(casts)
    return corrected


def _field_and_offset(
    given: FlatField | NDArray[Any] | str | os.PathLike[str], offset: float | None
) -> tuple[NDArray[Any], float]:
    if isinstance(given, FlatField):
        return given.field, given.offset if offset is None else offset
    field = read_field(given) if isinstance(given, str | os.PathLike) else np.asarray(given)
    return field, 0.0 if offset is None else offset


def _check(field: NDArray[Any], offset: float, pedestal: float, shape: tuple[int, ...]) -> None:
    if field.dtype.kind not in "iuf" or field.shape != shape:
        raise ValueError(
            f"{_NAME}: the field is a {field.dtype} array of shape {field.shape}, but the planes have the shape "
            f"{shape}; give the field of the same camera and binning, one number a pixel."
        )
    if not (np.isfinite(field).all() and field.min() > 0):
        raise ValueError(
            f"{_NAME}: the field must be finite and above 0 at each pixel; its lowest value is {field.min()}."
        )
    for name, value in (("offset", offset), ("pedestal", pedestal)):
        if isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"{_NAME}: {name}={value} must be a finite number of counts.")
