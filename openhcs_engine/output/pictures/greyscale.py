"""From pixels to grey: one scale a channel, so that wells can be compared, and small PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """Means of the finite pixels of blocks, 0 where there is none; the longer edge is at most ``side`` pixels.

    Means keep thin bright objects visible; a pixel that is not finite would take its block and the plate's scale along.
    """
    factor = max(1, -(-max(plane.shape) // side))
    rows, columns = max(1, plane.shape[0] // factor), max(1, plane.shape[1] // factor)
    fy, fx = min(factor, plane.shape[0]), min(factor, plane.shape[1])
    blocks = plane[: rows * fy, : columns * fx].reshape(rows, fy, columns, fx)
    if plane.dtype.kind != "f":
        return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))
    finite = np.isfinite(blocks)
    sums = blocks.sum(axis=(1, 3), dtype=np.float64, where=finite)
    return np.asarray(sums / np.maximum(finite.sum(axis=(1, 3)), 1))


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
