"""Dividing images by the field of light."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.functions.any_library import any_library
from openhcs_engine.functions.illumination.field_file import read_field
from openhcs_engine.functions.illumination.flat_field import is_number
from openhcs_engine.functions.stack import Pixels, require_stack
from openhcs_engine.memory import numpy
from openhcs_engine.memory.artifacts import parameter_files, special_inputs
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.bands import row_bands
from openhcs_engine.memory.conversion.cast_loss import Cast, tell_casts
from openhcs_engine.memory.conversion.dtype import restore_dtype
from openhcs_engine.memory.parameter_check import Refusals, checked_by

_NAME: Final = "correct_illumination"
_EXACT_IN_FLOAT32: Final = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.uint16), np.dtype(np.int16))

Field: TypeAlias = Mapping[str, Any] | NDArray[Any] | str | os.PathLike[str]
"""What a fit found, an array, or the path of a file."""


def _refusals(offset: object = None, pedestal: object = 0.0, **_: object) -> Refusals:
    if offset is not None and not is_number(offset) and not isinstance(offset, np.ndarray):
        yield "offset", f"offset={offset!r} must be a finite number of counts, or None."
    if not is_number(pedestal):
        yield "pedestal", f"pedestal={pedestal!r} must be a finite number of counts."


@numpy(slice_by_slice=True)
@special_inputs("flat_field")
@parameter_files("flat_field")
@checked_by(_refusals)
@any_library
def correct_illumination(
    stack: Pixels,
    flat_field: Field,
    offset: float | NDArray[Any] | None = None,
    pedestal: float = 0.0,
) -> Pixels:
    """Make light even: each plane becomes ``(plane - offset) / field + pedestal``.

    Parameters
    ----------
    stack
        ``(plane, y, x)`` of one channel, any real dtype but bool; never written to.
    flat_field
        What :func:`flat_field` or :func:`basic_flat_field` found, or another mapping with a ``field`` and maybe an
        ``offset``; or a field ``(y, x)`` of numbers above 0, as an array or the path of a ``.npy``
        or TIFF file (in a pipeline an absolute one), by which pixels are divided as it is: a field of mean 1 keeps the
        mean of an evenly lit image. In a pipeline a result of this name is taken unless the step gives one.
    offset
        Counts of a pixel without light, or a dark field ``(y, x)`` of them. Default: what belongs to a fit; 0 for
        arrays and files.
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
        If the field or the dark field has another shape than the planes, the field holds values that are not above 0,
        NaN or infinite, or an offset is not finite.
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
    for _, sentence in _refusals(offset, pedestal):
        raise ValueError(f"{_NAME}: {sentence}")
    _check(field, dark, stack.shape[1:])
    small = stack.dtype in _EXACT_IN_FLOAT32 or (stack.dtype.kind == "f" and stack.dtype.itemsize <= 4)
    number = np.float32 if small else np.float64
    gain = (1 / field.astype(np.float64)).astype(number)
    dark = dark.astype(number)
    corrected = empty_aligned(stack.shape, stack.dtype)
    casts: list[Cast] = []
    for band in row_bands(stack.shape):
        pixels: Pixels = stack[band].astype(number)
        pixels -= dark[band[1:]] if dark.ndim else dark
        pixels *= gain[band[1:]]
        pixels += number(pedestal)
        corrected[band] = restore_dtype(pixels, stack.dtype, casts.append)
    tell_casts(casts)
    return corrected


def _field_and_offset(given: Field, offset: float | NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[Any]]:
    own: object = 0.0
    if isinstance(given, Mapping):
        if "field" not in given:
            raise ValueError(
                f"{_NAME}: what was fitted has {', '.join(map(repr, given)) or 'nothing'}, but no 'field'; fit the "
                "plate step with flat_field."
            )
        field, own = np.asarray(given["field"]), given.get("offset", 0.0)
    else:
        field = read_field(given) if isinstance(given, str | os.PathLike) else np.asarray(given)
    return field, np.asarray(own if offset is None else offset)


def _check(field: NDArray[Any], dark: NDArray[Any], shape: tuple[int, ...]) -> None:
    if field.dtype.kind not in "iuf" or field.shape != shape:
        raise ValueError(
            f"{_NAME}: the field is a {field.dtype} array of shape {field.shape}, but the planes have the shape "
            f"{shape}; give the field of the same camera and binning, one number a pixel."
        )
    if not (np.isfinite(field).all() and field.min() > 0):
        raise ValueError(
            f"{_NAME}: the field must be finite and above 0 at each pixel; its lowest value is {field.min()}."
        )
    if dark.dtype.kind not in "iuf" or dark.shape not in ((), shape) or not np.isfinite(dark).all():
        raise ValueError(
            f"{_NAME}: the offset is a {dark.dtype} array of shape {dark.shape}; give finite counts, one number for "
            f"all pixels or one for each of {shape}."
        )


__all__ = ["Field", "correct_illumination"]
