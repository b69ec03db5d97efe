"""From pixels to grey: one scale a channel, so that wells can be compared, and small PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from openhcs_engine.files.atomic import write_whole

Plane = NDArray[Any]
"""One 2-D image ``(y, x)`` of any real dtype."""
Grey = NDArray[np.uint8]
"""``(y, x)``, 0 to 255."""
Scale = tuple[float, float]
"""Pixel values that are drawn black and white."""

DARK, BRIGHT = 1.0, 99.8
"""Percentiles that become black and white; a few hot pixels must not darken a plate."""
SAMPLE: Final = 4096
"""Pixels of each plane that enter a plate's percentiles."""


def scale_of(planes: Iterable[Plane]) -> Scale:
    """The scale of some planes together; (0, 1) for none."""
    samples = [_sample(plane) for plane in planes]
    if not samples:
        return 0.0, 1.0
    dark, bright = np.percentile(np.concatenate(samples), (DARK, BRIGHT))
    return float(dark), float(bright)


def _sample(plane: Plane) -> NDArray[np.float64]:
    step = max(1, plane.size // SAMPLE)
    return plane.reshape(-1)[::step].astype(np.float64)


def to_grey(plane: Plane, scale: Scale) -> Grey:
    """Map a scale to 0..255; what is darker or brighter is clipped."""
    dark, bright = scale
    span = max(bright - dark, 1e-30)  # an even plane is black, not an error
    grey = np.clip((plane.astype(np.float32) - dark) * (255 / span), 0, 255)
    return np.asarray(grey.astype(np.uint8))


def shrink(plane: Plane, side: int) -> NDArray[np.float64]:
    """``block_means``, 0 where a block has no finite pixel: it would take the plate's scale along."""
    return np.nan_to_num(block_means(plane, side), nan=0.0)


def block_means(plane: Plane, side: int) -> NDArray[np.float64]:
    """Means of the finite pixels of blocks, NaN where there is none; the longer edge is at most ``side`` pixels.

    Means keep thin bright objects visible. Blocks of a plane may differ by a pixel, so that no edge is left out.
    """
    edges = [_edges(size, max(1, size * side // max(side, *plane.shape))) for size in plane.shape]
    if plane.dtype.kind != "f":
        counts = np.outer(*(np.diff(of_axis, append=size) for of_axis, size in zip(edges, plane.shape, strict=True)))
        return np.asarray(_block_sums(plane, edges) / counts)
    finite = np.isfinite(plane)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as wanted
        return np.asarray(_block_sums(np.where(finite, plane, 0), edges) / _block_sums(finite, edges))


def _edges(size: int, blocks: int) -> NDArray[np.intp]:
    """Where each of some blocks begins on an axis."""
    return np.arange(blocks) * size // blocks


def _block_sums(plane: Plane, edges: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    rows, columns = edges
    return np.asarray(np.add.reduceat(np.add.reduceat(plane, rows, axis=0, dtype=np.float64), columns, axis=1))


def as_type(means: Plane, dtype: np.dtype[Any]) -> Plane:
    """Means as pixels of a type: whole numbers rounded, booleans by the majority."""
    if dtype.kind == "f":
        return means.astype(dtype)
    if dtype.kind == "b":
        return np.asarray(means >= 0.5)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(means), limits.min, limits.max).astype(dtype))


def png(grey: Grey) -> bytes:
    """A grey PNG."""
    from imagecodecs import png_encode

    return bytes(png_encode(np.ascontiguousarray(grey), level=6))


def write_scales(folder: Path, scales: Mapping[str, Scale]) -> None:
    """Keep a plate's scales, by channel, for the thumbnails of later runs."""
    write_whole(folder / "display.json", msgspec.json.encode(dict(scales)))


def read_scales(folder: Path) -> dict[str, Scale]:
    """The plate's scales, by channel; empty before the first report."""
    try:
        return msgspec.json.decode((folder / "display.json").read_bytes(), type=dict[str, Scale])
    except (OSError, msgspec.MsgspecError):
        return {}
