"""The images of a sample, read once, judged, and kept smaller than they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError
from openhcs_engine.functions.illumination.squares import Floats, means_of_squares

_NAME: Final = "flat_field"
_LARGEST_EDGE: Final = 540
"""Pixels of an edge in which images are kept: dust is told apart, and 48 images need 56 MB."""
_FINE_EDGE: Final = 256
"""Edge from which on images are halved at least."""
_WORK_EDGE: Final = 128
"""About the edge in which background and objects are told apart."""
_SATURATED: Final = 0.2
"""Share of pixels with the image's largest value from which the background itself may be cut off."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image of the sample that was not used."""

    image: int
    """Its position in the sample, from 0."""
    reason: str
    name: str
    """Its well and site where the sample has coordinates, as that of a plate step; else its position."""

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is left of the sample, in two sizes; both cover the images and the same margin beyond them."""

    shape: tuple[int, int]
    """(y, x) of the images in pixels."""
    fine: Floats
    """``(image, y, x)``: means of squares of ``fine_edge`` pixels."""
    fine_edge: int
    work: Floats
    """``(image, y, x)``: means of squares of ``ratio`` fine ones; both edges are even."""
    ratio: int
    used: tuple[int, ...]
    """Positions in the sample, from 0."""
    left_out: tuple[LeftOut, ...]


def read_sample(images: Iterable[NDArray[Any]], minimum: int) -> Sample:
    """Read all images, one after the other.

    Raises
    ------
    ValueError
        If the images have different shapes, are no planes, too small, or fewer than ``minimum`` can be used.
    """
    fine: list[Floats] = []
    used: list[int] = []
    left_out: list[LeftOut] = []
    shape: tuple[int, int] | None = None
    edge = ratio = 1
    coordinates = getattr(images, "coordinates", ())
    for number, image in enumerate(images):
        name = _name(number, coordinates)
        plane = _plane(image, name)
        if shape is None:
            shape = plane.shape
            edge, ratio = _edges(shape)
        if plane.shape != shape:
            raise ValueError(
                f"{_NAME}: {name} has the shape {plane.shape}, the ones before have {shape}; one field is "
                "fitted on images of one camera and one binning."
            )
        if (reason := _reason_against(plane)) is not None:
            left_out.append(LeftOut(number, reason, name))
            continue
        used.append(number)
        fine.append(means_of_squares(_padded(plane, edge * ratio * 2), edge))
    if shape is None:
        raise ValueError(f"{_NAME} got no images; give a sample of {minimum} or more of one channel.")
    if len(used) < minimum:
        reasons = "; ".join(map(str, left_out[:6])) or "none was left out"
        raise ValueError(
            f"{_NAME} needs {minimum} images at least, but can use {len(used)} of {len(used) + len(left_out)} "
            f"({reasons})."
        )
    stack = np.stack(fine)
    del fine
    return Sample(
        shape=shape,
        fine=stack,
        fine_edge=edge,
        work=np.stack([means_of_squares(plane, ratio) for plane in stack]),
        ratio=ratio,
        used=tuple(used),
        left_out=tuple(left_out),
    )


def _name(number: int, coordinates: Sequence[Mapping[str, Any]]) -> str:
    if number >= len(coordinates):
        return f"image {number}"
    where = coordinates[number]
    return f"well {where['well']}, site {where['site']}" if where.get("site") else f"well {where['well']}"


def _plane(image: NDArray[Any], name: str) -> NDArray[Any]:
    plane = np.asarray(image)
    if plane.ndim != 2:
        raise ValueError(
            f"{_NAME}: {name} has the shape {plane.shape}; give planes (y, x), or a stack (image, y, x) of one channel."
        )
    if plane.dtype.kind not in "iuf":
        raise PixelValueError(f"{_NAME}: {name} has {plane.dtype} pixels; a field is fitted on grey values.")
    if min(plane.shape) < 16:
        raise ValueError(f"{_NAME}: {name} has the shape {plane.shape}; a field needs 16 pixels an edge.")
    return plane


def _edges(shape: tuple[int, int]) -> tuple[int, int]:
    """Edge of a fine square in pixels, and that of a working one in fine ones."""
    edge = max(math.ceil(max(shape) / _LARGEST_EDGE), 2 if min(shape) >= _FINE_EDGE else 1)
    return edge, max(1, round(max(shape) / edge / _WORK_EDGE))


def _padded(plane: NDArray[Any], multiple: int) -> NDArray[Any]:
    margins = [(0, -size % multiple) for size in plane.shape]
    return np.pad(plane, margins, mode="edge") if any(after for _, after in margins) else plane


def _reason_against(plane: NDArray[Any]) -> str | None:
    """Why an image cannot be used."""
    low, high = plane.min(), plane.max()
    if not np.isfinite(low) or not np.isfinite(high):
        return "holds NaN or infinite pixels"
    if low == high:
        return f"is constant ({low})"
    share = np.count_nonzero(plane == high) / plane.size
    if share > _SATURATED:
        return f"is saturated ({share:.0%} of its pixels have its largest value, {high})"
    return None
