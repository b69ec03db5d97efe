"""A stack whose planes are read one by one: what functions that are declared ``lazy`` get in place of an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Self, overload

import numpy as np

from openhcs_engine.memory.stack import Array


@dataclass(frozen=True, slots=True, eq=False)
class LazyStack(Sequence[Array]):
    """Planes ``(y, x)`` of one shape and pixel type; each is read when it is asked for, and nothing holds it.

    It has the length, ``shape``, ``dtype`` and ``nbytes`` of the array ``(plane, y, x)`` that it stands for.
    """

    shape: tuple[int, int, int]
    """``(plane, y, x)``."""
    dtype: np.dtype[Any]
    read: Callable[[int], Array]
    """Gives a plane by its number, from 0."""

    @classmethod
    def of(cls, stack: Array) -> Self:
        """The planes of an array ``(plane, y, x)`` that lies in memory."""
        planes, height, width = stack.shape
        return cls((planes, height, width), stack.dtype, stack.__getitem__)

    @property
    def ndim(self) -> int:
        """3: plane, y, x."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Pixels of all planes."""
        planes, height, width = self.shape
        return planes * height * width

    @property
    def nbytes(self) -> int:
        """Bytes of all planes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, number: int) -> Array: ...

    @overload
    def __getitem__(self, number: slice) -> Self: ...

    def __getitem__(self, number: int | slice) -> Array | Self:
        """Read one plane, which cannot be written to; a slice reads nothing and is a lazy stack of its own."""
        if isinstance(number, slice):
            chosen = range(len(self))[number]
            return type(self)((len(chosen), *self.shape[1:]), self.dtype, lambda each: self[chosen[each]])
        plane = self.read(range(len(self))[index(number)]).view()
        plane.flags.writeable = False
        return plane

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))


__all__ = ["LazyStack"]
