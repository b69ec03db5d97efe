"""Functions that read the planes of their stack one by one, for pipelines in tests."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from openhcs_engine.memory import LazyStack, numpy, special_inputs, special_outputs
from openhcs_engine.memory.stack import Array


@numpy(lazy=True, collapses=True)
def brightest(stack: LazyStack) -> Array:
    """The maximum of all planes, of which it holds one; an error if the engine holds the others."""
    assert isinstance(stack, LazyStack)
    whole = np.zeros((1, *stack.shape[1:]), stack.dtype)
    for plane in stack:
        assert not plane.flags.writeable
        np.maximum(whole, plane, out=whole)
    return whole


@numpy(lazy=True, collapses=True)
def brightest_of_files(stack: LazyStack) -> Array:
    """The same; fails if a plane that was read before is still held while the next one is."""
    whole, read = np.zeros((1, *stack.shape[1:]), stack.dtype), list[Any]()
    for number in range(len(stack)):
        plane = stack[number]
        assert [each() for each in read] == [None] * number
        np.maximum(whole, plane, out=whole)
        read.append(weakref.ref(plane if plane.base is None else plane.base))
        del plane
    return whole


@numpy(lazy=True)
@special_inputs("plane_keys")
@special_outputs(("levels", "table"))
def look_at_levels(stack: LazyStack, plane_keys: tuple[Any, ...]) -> tuple[LazyStack, dict[str, list[int]]]:
    """A table of each plane's mean; the planes stay as they are."""
    sites = [key["site"] for key in plane_keys]
    return stack, {"site_of_plane": sites, "mean": [round(float(plane.mean())) for plane in stack]}


@numpy(lazy=True)
def a_part(stack: LazyStack) -> LazyStack:
    """Another lazy stack than the one that it was given."""
    return stack[:1]


@numpy(lazy=True, dtype="float32")
def promises_float32(stack: LazyStack) -> LazyStack:
    """And returns the planes as they are."""
    return stack


@numpy(lazy=True)
def doubled(stack: LazyStack) -> Array:
    """A new stack."""
    return np.stack([plane * 2 for plane in stack])
