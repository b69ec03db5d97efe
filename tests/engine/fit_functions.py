"""Functions that plate steps in tests fit, and functions that take what they fitted."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openhcs_engine.memory import numpy, special_inputs
from openhcs_engine.memory.stack import Array


@numpy
def mean_image(images: Sequence[Array], scale: float = 1.0) -> Array:
    """The mean of the sample, float32 ``(y, x)``; notes its call where FITS_COUNTED names a folder."""
    if folder := os.environ.get("FITS_COUNTED"):
        (Path(folder) / f"{time.time_ns()}-{os.getpid()}").touch()
    total = np.zeros(images[0].shape, np.float64)
    for image in images:
        total += image
    return np.asarray(total / len(images) * scale, np.float32)


@numpy
def moments(images: Sequence[Array]) -> dict[str, Any]:
    """A dict of an array and numbers."""
    means = [float(image.mean()) for image in images]
    return {"field": images[0].astype(np.float32), "mean": float(np.mean(means)), "count": len(images)}


@numpy
def places(images: Any) -> pa.Table:
    """A table: where each image was taken, and its mean."""
    rows = [{**place, "mean": float(image.mean())} for place, image in zip(images.coordinates, images, strict=True)]
    return pa.Table.from_pylist(rows)


@numpy
def doubtful(images: Sequence[Array]) -> float:
    """A number, and a doubt."""
    warnings.warn("the offset cannot be told", stacklevel=1)
    return float(images[0].min())


@numpy
def fails(images: Sequence[Array]) -> float:
    """Fails on every sample."""
    raise ValueError("no light")


@numpy
def dies(images: Sequence[Array]) -> float:
    """Takes its process along."""
    os._exit(3)


@numpy
def not_finite(images: Sequence[Array]) -> Array:
    """An array with a hole."""
    field = images[0].astype(np.float32)
    field[0, 0] = np.nan
    return field


@numpy
def bright_text(images: Sequence[Array]) -> str:
    """Nothing that could be kept."""
    return "bright"


@numpy
def slow_mean(images: Sequence[Array]) -> Array:
    """The mean, after a while in which a test can act; it says where it is."""
    Path(os.environ["FITS_BEGUN"]).touch()
    time.sleep(float(os.environ.get("FITS_SLEEP", "0")))
    return mean_image(images)


@numpy
@special_inputs("field")
def subtract_field(stack: Array, field: Array) -> Array:
    """The stack less a field."""
    return np.clip(stack.astype(np.float32) - field, 0, None)


@numpy
@special_inputs("field")
def add_mean(stack: Array, field: Any) -> Array:
    """The stack, brighter by a number of a dict."""
    return stack + np.asarray(round(field["mean"]), stack.dtype)


@numpy
@special_inputs("field")
def add_table(stack: Array, field: pa.Table) -> Array:
    """The stack, brighter by the rows of a table."""
    return stack + np.asarray(field.num_rows, stack.dtype)


@numpy
@special_inputs("field")
def add_number(stack: Array, field: float) -> Array:
    """The stack, brighter by a number."""
    return stack + np.asarray(round(field), stack.dtype)


@numpy
def same(stack: Array) -> Array:
    """The stack."""
    return stack
