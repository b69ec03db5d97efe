"""The table of planes, and how planes become stacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.memory.stack import stack_planes
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import AXES, ImageIndex, ImageKey, ImagePlane, PlaneKind
from tests.engine.plates import make_plate

keys = st.builds(
    ImageKey,
    st.sampled_from(["A01", "B02", "AA03"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.integers(1, 2),
)


@given(st.sets(keys, max_size=30), st.lists(st.sampled_from(AXES), min_size=1, max_size=4, unique=True))
def test_stacks_are_a_partition_of_the_planes(some: set[ImageKey], variable: list[Component]) -> None:
    """Each plane is in one stack; within a stack only the variable components differ."""
    index = ImageIndex.of(ImagePlane(key=key, path="x") for key in some)

    stacks = index.group_stacks(variable)

    assert sorted((plane.key for stack in stacks for plane in stack.planes), key=str) == sorted(some, key=str)
    for stack in stacks:
        for axis in AXES:
            if axis not in variable:
                assert len({plane.key.get(axis) for plane in stack.planes}) == 1


def test_a_stack_runs_along_its_first_component_slowest() -> None:
    """[SITE, Z_INDEX] gives all z planes of site 1, then those of site 2."""
    _, index = make_plate(["A01"])

    stack = index.group_stacks([Component.SITE, Component.Z_INDEX])[0]

    assert [(plane.key.site, plane.key.z_index) for plane in stack.planes] == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    assert stack.collapsed_key == stack.key.replace(site=None, z_index=None)


def test_the_order_does_not_depend_on_how_planes_come() -> None:
    """Wells as on the plate (AA after Z), then time, site, channel, z; collapsed axes and planes come first."""
    keys = [
        ImageKey(well, site, channel, z_index, time)
        for well in ("B01", "Z02", "AA01")
        for time in (1, 2)
        for site in (None, 1, 2, 10)
        for channel in (1, 10)
        for z_index in (None, 1)
    ]
    planes = [ImagePlane(key=key, path="x", kind=kind) for key in keys for kind in PlaneKind]

    assert ImageIndex.of(reversed(planes)).planes == ImageIndex.of(planes).planes == tuple(planes)


def test_channel_ten_comes_after_channel_two() -> None:
    """Order is by value, not by text."""
    index = ImageIndex.of(ImagePlane(key=ImageKey("A01", 1, channel, 1, 1), path="x") for channel in (10, 2, 1))

    assert [plane.key.channel for plane in index] == [1, 2, 10]


def test_projections_enter_only_where_there_is_no_plane() -> None:
    """A projection beside its planes stays out; a channel that is only a projection enters as one plane."""
    planes = [
        ImagePlane(key=ImageKey("A01", 1, 1, 1, 1), path="a"),
        ImagePlane(key=ImageKey("A01", 1, 1, None, 1), path="b", kind=PlaneKind.PROJECTION),
        ImagePlane(key=ImageKey("A01", 1, 2, None, 1), path="c", kind=PlaneKind.PROJECTION),
    ]

    assert [plane.path for plane in ImageIndex.of(planes).pipeline_input()] == ["a", "c"]


def test_a_stack_that_was_taken_apart_is_put_together_without_a_copy() -> None:
    """Neighbouring views of one buffer share its memory; others are copied."""
    stack = np.arange(4 * 3 * 2, dtype=np.uint16).reshape(4, 3, 2)

    together, reordered = stack_planes(list(stack)), stack_planes([stack[1], stack[0]])

    assert np.shares_memory(together, stack) and np.array_equal(together, stack)
    assert not np.shares_memory(reordered, stack) and np.array_equal(reordered, stack[[1, 0]])


@pytest.mark.parametrize("planes", [[np.zeros((3, 2))], [np.zeros((3, 2)), np.ones((3, 2))]])
def test_planes_of_their_own_are_copied(planes: list[np.ndarray]) -> None:
    """Arrays that own their memory are no parts of a stack."""
    assert np.array_equal(stack_planes(planes), np.stack(planes))
