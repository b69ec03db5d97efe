"""The planes of one stack, from the raw plate or from where they lie between steps: all at once, or one by one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from openhcs_engine.errors import PlaneMismatchError
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.lazy_stack import LazyStack
from openhcs_engine.memory.stack import Array, stack_planes
from openhcs_engine.model.image_index import ImagePlane, Stack
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.raw.array_plane import read_array_header, read_array_plane
from openhcs_engine.raw.plane import describe_form, read_plane, read_plane_header
from openhcs_engine.vfs.backend import StorageBackend


def read_raw_stack(stack: Stack, context: ProcessingContext) -> Array:
    """Read raw planes straight into one new array, of a kind that every array library can share."""
    shape, dtype = _common_form(stack, context)
    array = empty_aligned((len(stack.planes), *shape), dtype)
    for plane, target in zip(stack.planes, array, strict=True):
        _read_into(target, plane, context)
    return array


def _read_into(target: Array, plane: ImagePlane, context: ProcessingContext) -> None:
    if not plane.present:
        target[...] = 0  # only under OnMissing.BLANK; the result says so
    elif plane.array_index is None:
        read_plane(context.plate.root, str(plane.path), out=target)
    else:
        read_array_plane(context.plate.root, str(plane.path), plane.array_index, out=target)


def _common_form(stack: Stack, context: ProcessingContext) -> tuple[tuple[int, int], str]:
    """Shape and dtype of all planes of a stack; PlaneMismatchError if they differ."""
    first = _expected(stack.planes[0], context)
    for plane in stack.planes:
        if (own := _expected(plane, context)) != first:
            raise PlaneMismatchError(
                f"{plane.path} is {describe_form(*own)}, but shares a stack with {stack.planes[0].path}, which is "
                f"{describe_form(*first)}: planes of different kinds cannot be stacked; crop or scale them in an "
                "earlier step.",
                path=str(plane.path),
            )
    return first


def _expected(plane: ImagePlane, context: ProcessingContext) -> tuple[tuple[int, int], str]:
    """Shape and dtype that the plate's metadata give for a plane; where they give none, the file's own."""
    channel = context.plate.channel(plane.key.channel) if plane.key.channel is not None else None
    shape = (channel and channel.shape) or context.plate.shape
    dtype = (channel and channel.dtype) or context.plate.dtype
    if shape is None or dtype is None:
        if plane.array_index is not None:
            return read_array_header(context.plate.root, str(plane.path))
        return read_plane_header(context.plate.root, str(plane.path))
    return shape, dtype


def open_raw_stack(stack: Stack, context: ProcessingContext) -> LazyStack:
    """Raw planes that are read when they are asked for; what cannot be stacked is refused at once."""
    (height, width), dtype = _common_form(stack, context)

    def read(number: int) -> Array:
        plane = empty_aligned((height, width), dtype)
        _read_into(plane, stack.planes[number], context)
        return plane

    return LazyStack((len(stack.planes), height, width), np.dtype(dtype), read)


def take_planes(intermediates: StorageBackend, planes: Iterable[ImagePlane]) -> list[Array]:
    """Take planes out of their backend, out of memory without a copy.

    They are read-only if they are an array library's whose arrays must not change, or if the backend gives such.
    """
    keys = [str(plane.path) for plane in planes]
    arrays = intermediates.load_many(keys)
    for key in keys:
        intermediates.delete(key)
    return [_writable_again(array) for array in arrays] if intermediates.shares_memory else list(arrays)


def drop_planes(intermediates: StorageBackend, planes: Iterable[ImagePlane]) -> None:
    """Remove planes that nobody will read."""
    for plane in planes:
        intermediates.delete(str(plane.path))


def _writable_again(array: Array) -> Array:
    """What the memory backend shows as read-only, as it was given."""
    if isinstance(array.base, np.ndarray) and array.base.flags.writeable:
        array = array.view()
        array.flags.writeable = True
    return array


def take_stack(stack: Stack, intermediates: StorageBackend) -> Array:
    """The planes of a stack out of their backend, as one array.

    Raises
    ------
    PlaneMismatchError
        If they differ in shape or pixel type.
    """
    planes = take_planes(intermediates, stack.planes)
    for plane in planes:
        _refuse_other(plane, planes[0])
    return stack_planes(planes)


def open_stack(stack: Stack, intermediates: StorageBackend) -> LazyStack:
    """The same, read when they are asked for; they stay in their backend. The first one is read to know the others."""
    first = intermediates.load(str(stack.planes[0].path))
    height, width = first.shape
    form = np.broadcast_to(first.dtype.type(), first.shape)  # not the first plane itself, which would be held

    def read(number: int) -> Array:
        plane = intermediates.load(str(stack.planes[number].path))
        _refuse_other(plane, form)
        return plane

    return LazyStack((len(stack.planes), height, width), first.dtype, read)


def _refuse_other(plane: Array, first: Array) -> None:
    if (plane.shape, plane.dtype) != (first.shape, first.dtype):
        shown = " and ".join(sorted({f"{each.shape} {each.dtype}" for each in (plane, first)}))
        raise PlaneMismatchError(f"planes of one stack differ: {shown}.", path="")


__all__ = ["drop_planes", "open_raw_stack", "open_stack", "read_raw_stack", "take_planes", "take_stack"]
