"""Functions with side inputs and outputs, for pipelines in tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.memory import numpy, special_inputs, special_outputs

Pixels = NDArray[Any]


@special_outputs(("cells", "table"), ("nuclei", "labels"))
@numpy
def find_nuclei(stack: Pixels, threshold: int = 700) -> tuple[Pixels, list[dict[str, int]], Pixels]:
    """Connected regions above a threshold, each plane by itself, and a row for each."""
    from scipy import ndimage

    labels = np.stack([ndimage.label(plane > threshold)[0] for plane in stack])
    rows = [
        {"plane": number, "label": label, "area_px": int(np.sum(plane == label))}
        for number, plane in enumerate(labels)
        for label in range(1, int(plane.max()) + 1)
    ]
    return stack, rows, labels


@numpy
@special_outputs(("zebra", "table"), ("apple", "table"))
def two_tables(stack: Pixels) -> tuple[Pixels, dict[str, list[int]], dict[str, list[int]]]:
    """In an order that is not that of the alphabet."""
    return stack, {"stripes": [12]}, {"seeds": [5]}


@numpy(dtype="float32", collapses=True)
@special_inputs("nuclei")
def mean_in_nuclei(stack: Pixels, nuclei: Pixels) -> Pixels:
    """One plane that holds the mean of all planes' pixels in nuclei."""
    assert nuclei.shape == stack.shape and nuclei.dtype == np.uint32 and not nuclei.flags.writeable
    return np.full((1, *stack.shape[1:]), stack[nuclei > 0].mean() if nuclei.any() else 0.0, np.float32)


@numpy(collapses=True)
@special_inputs("positions")
def assemble(stack: Pixels, positions: Pixels) -> Pixels:
    """The tiles at the left top of an image as large as two of them, side by side."""
    assert positions.shape == (len(stack), 2)
    height, width = stack.shape[1:]
    right, down = int(positions[:, 1].max()), int(positions[:, 0].max())
    whole = np.zeros((1, height + down, width + right), stack.dtype)
    for tile, (y, x) in zip(stack, positions.astype(int), strict=True):
        whole[0, y : y + height, x : x + width] = tile
    return whole


@numpy
@special_outputs("model")
def fit(stack: Pixels) -> tuple[Pixels, object]:
    """Something that no file holds."""
    return stack, {"offset": int(stack.min())}


@numpy
@special_inputs("model")
def apply_model(stack: Pixels, model: Mapping[str, int]) -> Pixels:
    """Uses what ``fit`` found of the same stack."""
    assert stack.min() == model["offset"]
    return stack - np.asarray(model["offset"], stack.dtype)


@numpy
@special_inputs("grid_dimensions", "pixel_size", "channel_names")
@special_outputs(("seen", "table"))
def what_the_plate_says(
    stack: Pixels, grid_dimensions: Sequence[int], pixel_size: float, channel_names: Sequence[str]
) -> tuple[Pixels, list[dict[str, object]]]:
    """What it was given, as a table."""
    return stack, [
        {"rows": grid_dimensions[0], "columns": grid_dimensions[1], "um": pixel_size, "names": " ".join(channel_names)}
    ]


@numpy
@special_inputs("stage_positions", "plane_keys")
@special_outputs(("stage", "table"))
def where_planes_lie(
    stack: Pixels, stage_positions: Pixels, plane_keys: Sequence[Mapping[str, int]]
) -> tuple[Pixels, dict[str, Any]]:
    """A row for each plane."""
    return stack, {
        "place": [key["site"] for key in plane_keys],
        "y_um": stage_positions[:, 0],
        "x_um": stage_positions[:, 1],
    }


@numpy
@special_inputs("magnification")
def magnify(stack: Pixels, magnification: int) -> Pixels:
    """Takes what only a resolver of one's own gives."""
    return stack * np.asarray(magnification, stack.dtype)


failed: set[bytes] = set()
"""Stacks that ``out_of_memory_once`` refused already, in this process."""


@numpy
@special_outputs(("tries", "table"))
def out_of_memory_once(stack: Pixels) -> tuple[Pixels, list[dict[str, int]]]:
    """Of each stack, the first time."""
    if stack.tobytes() not in failed:
        failed.add(stack.tobytes())
        raise MemoryError("too little memory")
    return stack, [{"tries": 2}]


@numpy
def kill_self(stack: Pixels) -> Pixels:
    """Its process dies."""
    os.kill(os.getpid(), signal.SIGKILL)
    return stack


@numpy
@special_outputs(("cells", "table"), ("nuclei", "labels"))
def forgets_one(stack: Pixels) -> Any:
    """One output of two."""
    return stack, []


@numpy
@special_outputs(("cells", "table"))
def returns_the_stack_alone(stack: Pixels) -> Any:
    """No output of one."""
    return stack


@numpy
def returns_a_tuple(stack: Pixels) -> Any:
    """Without having said so."""
    return stack, [{"count": 1}]


@numpy
@special_outputs("labels")
def labels_of_other_size(stack: Pixels) -> Any:
    """Half of the image."""
    return stack, np.zeros((len(stack), 3, 3), np.int32)


@numpy
@special_outputs("labels")
def labels_below_zero(stack: Pixels) -> Any:
    """No number of an object."""
    return stack, np.full(stack.shape, -1)


@numpy
@special_outputs("positions")
def one_position(stack: Pixels) -> Any:
    """For all planes."""
    return stack, np.zeros((1, 2))


@numpy
@special_outputs("table")
def no_table(stack: Pixels) -> Any:
    """A number."""
    return stack, 3


@numpy
@special_outputs("table")
def other_site(stack: Pixels) -> Any:
    """Says that it was made of another site."""
    return stack, [{"site": 77}]


PIPELINE = Pipeline(
    [
        FunctionStep(
            {1: (find_nuclei, {"threshold": 650}), 2: find_nuclei}, variable_components=[VariableComponents.Z_INDEX]
        )
    ]
)
"""What the command line runs."""
