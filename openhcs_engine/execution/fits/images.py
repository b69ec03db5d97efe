"""The sample of a fit, as its function is given it: one image in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import overload

from openhcs_engine.errors import PlaneMismatchError
from openhcs_engine.execution.calls import enter
from openhcs_engine.execution.results import StepRecord
from openhcs_engine.memory.libraries.contract import AnyArray
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import Component
from openhcs_engine.model.image_index import ImageKey, ImagePlane
from openhcs_engine.plan.context import CPU, FunctionCall

_AXES = (Component.SITE, Component.CHANNEL, Component.Z_INDEX, Component.TIMEPOINT)
_UNREADABLE = (OSError, PlaneMismatchError)
"""A file that is missing or damaged, or of another size than the plate's metadata say."""


class FitImages(Sequence[AnyArray]):
    """Images ``(y, x)`` in their raw pixel type, all of one shape, each read when it is asked for.

    Parameters
    ----------
    planes
        The sample.
    read
        Gives the pixels of one plane as a stack ``(1, y, x)``.
    call
        Whose library the arrays are of.
    unread
        Gets what cannot be read, and why.
    """

    def __init__(
        self,
        planes: Sequence[ImagePlane],
        read: Callable[[ImagePlane], Array],
        call: FunctionCall,
        unread: dict[ImageKey, Exception],
    ) -> None:
        self._planes = tuple(planes)
        self._read = read
        self._call = call
        self._unread = unread
        self._shape: tuple[int, ...] | None = None

    @property
    def coordinates(self) -> tuple[Mapping[str, str | int | None], ...]:
        """Well, site, channel, z_index and timepoint of each image."""
        keys = [plane.key for plane in self._planes]
        return tuple({"well": key.well, **{axis.value: key.get(axis) for axis in _AXES}} for key in keys)

    def __len__(self) -> int:
        return len(self._planes)

    @overload
    def __getitem__(self, index: int) -> AnyArray: ...
    @overload
    def __getitem__(self, index: slice) -> FitImages: ...
    def __getitem__(self, index: int | slice) -> AnyArray | FitImages:
        if isinstance(index, slice):
            return FitImages(self._planes[index], self._read, self._call, self._unread)
        return self._image(self._planes[index])

    def look_at_all(self) -> None:
        """Read every image once, so that all that cannot be read are known."""
        for plane in self._planes:
            if plane.key not in self._unread:
                with suppress(*_UNREADABLE):
                    self._pixels(plane)

    def _image(self, plane: ImagePlane) -> AnyArray:
        pixels = self._pixels(plane)
        shape = pixels.shape[1:]
        self._shape = self._shape or shape
        if shape != self._shape:
            raise PlaneMismatchError(
                f"{plane.path} has {shape[0]} x {shape[1]} pixels, but other images of the sample have "
                f"{self._shape[0]} x {self._shape[1]}; give the sample sites or wells of one size.",
                path=str(plane.path),
            )
        return enter(self._call, pixels, CPU, StepRecord()).array[0]

    def _pixels(self, plane: ImagePlane) -> Array:
        try:
            return self._read(plane)
        except _UNREADABLE as error:
            self._unread[plane.key] = error
            raise


__all__ = ["FitImages"]
