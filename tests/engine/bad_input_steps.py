"""Functions of pipelines with bad input; importable, as worker processes need them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.memory import numpy, special_inputs, special_outputs


@numpy
@special_outputs(("nuclei", "labels"))
def shifted_labels(stack: NDArray[Any], shift: int = 0) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """A square in each plane, moved by so many pixels."""
    labels = np.zeros(stack.shape, np.uint32)
    labels[:, 4:12, 4 + shift : 12 + shift] = 1
    return stack, labels


@numpy
@special_outputs(("nuclei", "labels"))
def negative_labels(stack: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers below 0."""
    return stack, np.full(stack.shape, -1, np.int64)


def mean_of_sample(sample: Any) -> NDArray[np.float64]:
    """Something to fit."""
    return np.asarray(np.mean([np.asarray(image, np.float64) for image in sample], axis=0))


@numpy
@special_inputs("field")
def subtract_fitted(stack: NDArray[Any], field: Any) -> NDArray[Any]:
    """Something that uses it."""
    return stack
