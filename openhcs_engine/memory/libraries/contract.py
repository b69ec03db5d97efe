"""What the engine asks of an array library. One adapter a library; only adapters import the libraries, when asked to.

Devices are named as in plans: ``cpu``, or ``gpu:N`` with N as this process counts its GPUs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from numpy.typing import NDArray

from openhcs_engine.memory.types import MemoryType

AnyArray: TypeAlias = Any  # an array of any of the six libraries: they share no base class
HostArray: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFacts:
    """What is known of an array without touching its values."""

    shape: tuple[int, ...]
    dtype: str
    """NumPy's name of the dtype; the library's own name where NumPy has none."""
    nbytes: int
    device: str
    """``cpu``, ``gpu:N`` or ``opencl``."""
    pointer: int | None
    """Address of the first element; None where the library does not tell."""
    writable: bool


class ArrayLibrary(ABC):
    """One array library. Adapters hold no state: all of them are values of a registry."""

    memory_type: ClassVar[MemoryType]
    package: ClassVar[str]
    """Name it is imported by."""
    extra: ClassVar[str | None] = None
    """Extra of this distribution that installs it; None: always there."""
    needs_gpu: ClassVar[bool] = False
    """True: without a GPU it can do nothing."""
    has_cpu: ClassVar[bool] = True
    """True: it can work in the host's memory."""
    immutable: ClassVar[bool] = False
    """True: its arrays must never change once made."""
    dtypes: ClassVar[frozenset[str]]
    """NumPy names of the dtypes that it holds exactly."""
    most_dimensions: ClassVar[int | None] = None
    takes_empty: ClassVar[bool] = True
    """True: it holds arrays without elements."""
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Variables that must be set in a worker's environment before it is imported."""

    def installed(self) -> bool:
        """Whether it can be imported, without importing it."""
        return find_spec(self.package) is not None

    @abstractmethod
    def why_not(self) -> str | None:
        """Why it cannot work in this process, as a sentence; None if it can. May import it."""

    @abstractmethod
    def owns(self, array: object) -> bool:
        """Whether the array is one of this library's; never imports it."""

    @abstractmethod
    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of one of its arrays."""

    @abstractmethod
    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Take over a NumPy array: native byte order, C-contiguous, aligned (64 bytes), writable, nobody else's.

        Without a copy where the library works in the host's memory.
        """

    @abstractmethod
    def to_host(self, array: AnyArray) -> HostArray:
        """The values as a NumPy array; without a copy where they lie in the host's memory. Waits until they are there.

        Read-only if the library's arrays are immutable.
        """

    @abstractmethod
    def copy(self, array: AnyArray) -> AnyArray:
        """The same values in memory that nothing else refers to."""

    @abstractmethod
    def planes(self, array: AnyArray, start: int, stop: int) -> AnyArray:
        """Planes ``start`` to ``stop`` of a stack; a view where the library has views."""

    @abstractmethod
    def join(self, stacks: Sequence[AnyArray]) -> AnyArray:
        """Stacks one after another along the first axis."""

    @abstractmethod
    def cast(self, array: AnyArray, dtype: str) -> AnyArray:
        """Bring an array to a dtype by the law of ``restore_dtype``: rounded half to even, clipped, never stretched."""

    def entry_dtype(self, dtype: str) -> str:
        """The dtype in which a stack enters a function of this library; another one where it lacks arithmetic."""
        return dtype

    def scope(self, device: str) -> AbstractContextManager[None]:
        """Work inside goes to the device, on a stream that belongs to this thread where the library has streams."""
        return nullcontext()

    def synchronize(self, device: str) -> None:
        """Wait until all work that was given to a device is done."""
        return

    def release(self, device: str) -> None:
        """Give cached memory back to the device, as far as the library can."""
        return

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that a device's memory did not suffice."""
        return isinstance(error, MemoryError)


__all__ = ["AnyArray", "ArrayFacts", "ArrayLibrary", "HostArray"]
