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


def _sample(plane: Plane) -> NDArray[np.float32]:
    step = max(1, plane.size // SAMPLE)
    return plane.reshape(-1)[::step].astype(np.float32)


def to_grey(plane: Plane, scale: Scale) -> Grey:
    """Map a scale to 0..255; what is darker or brighter is clipped."""
    dark, bright = scale
    span = max(bright - dark, 1e-30)  # an even plane is black, not an error
    grey = np.clip((plane.astype(np.float32) - dark) * (255 / span), 0, 255)
    return np.asarray(grey.astype(np.uint8))


def shrink(plane: Plane, side: int) -> Plane:
    """The plane with its longer edge at most ``side`` pixels: means of blocks, so that thin bright objects stay."""
    height, width = plane.shape
    factor = -(-max(height, width) // side)
    if factor <= 1:
        return plane
    rows, columns = max(1, height // factor), max(1, width // factor)
    block = plane[: rows * factor, : columns * factor].astype(np.float32)
    fy, fx = block.shape[0] // rows, block.shape[1] // columns
    return np.asarray(block[: rows * fy, : columns * fx].reshape(rows, fy, columns, fx).mean(axis=(1, 3)))


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
