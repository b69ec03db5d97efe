"""Functions of pipelines that plant labels, so that what is measured is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.memory import numpy, special_inputs, special_outputs

Pixels = NDArray[Any]


@numpy
@special_inputs("plane_keys")
@special_outputs(("nuclei", "labels"))
def plant(stack: Pixels, plane_keys: Any, empty: tuple[int, ...] = ()) -> tuple[Pixels, Pixels]:
    """As many squares of 3 pixels an edge as the number of the site, and none at some sites."""
    labels = np.zeros(stack.shape, np.uint32)
    for plane, key in zip(labels, plane_keys, strict=True):
        for number in range(0 if key["site"] in empty else key["site"]):
            plane[5 * number + 2 : 5 * number + 5, 2:5] = number + 1
    return stack, labels


@numpy
@special_outputs(("wells", "table"))
def a_table_of_wells(stack: Pixels) -> tuple[Pixels, dict[str, list[int]]]:
    """A table of the name that summaries have."""
    return stack, {"rows": [1]}


@numpy
@special_outputs(("ratios", "measurements"))
def ratios(stack: Pixels) -> tuple[Pixels, dict[str, list[float]]]:
    """Measurements of one's own, one of which is undefined."""
    return stack, {"ratio": [1.0, float("nan"), 4.0], "object": [1, 2, 3]}  # type: ignore[dict-item] # numbers


@numpy
@special_outputs(("ratios", "measurements"))
def unnumbered(stack: Pixels) -> tuple[Pixels, dict[str, list[float]]]:
    """Measurements of nobody knows which object."""
    return stack, {"ratio": [1.0]}
