"""What the engine asks of an array library. One adapter a library; only adapters import the libraries, when asked to.

Devices are named as in plans: ``cpu``, or ``gpu:N`` with N as this process counts its GPUs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from numpy.typing import NDArray

from openhcs_engine.errors import LibraryUnavailableError
from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.libraries.out_of_memory import says_out_of_memory
from openhcs_engine.memory.loading import is_installed, load_framework
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
    """Address of the first element; None where the library does not say."""
    writable: bool
    contiguous: bool = True
    """Whether the elements lie one after another in C order, as far as the library has other arrays at all."""


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
    releases_memory: ClassVar[bool] = True
    """True: ``release`` gives memory back to the device; False: it only makes it free for the library itself, and the
    end of the process gives it back."""
    borrows_strided: ClassVar[bool] = False
    """True: it shares host memory of any positive strides and alignment; False: only C-contiguous, 64-byte aligned."""
    dlpack: ClassVar[bool] = True
    """True: its arrays and those of others change hands by DLPack."""
    cuda_array_interface: ClassVar[bool] = False
    """True: it takes GPU arrays over by their ``__cuda_array_interface__``."""
    dtypes: ClassVar[frozenset[str]]
    """Names of the dtypes that it holds exactly: NumPy's, and ``bfloat16``, for which NumPy has none."""
    most_dimensions: ClassVar[int | None] = None
    takes_empty: ClassVar[bool] = True
    """True: it holds arrays without elements."""
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Variables that must be set in a worker's environment before it is imported."""

    def installed(self) -> bool:
        """Whether it can be imported, without importing it."""
        return is_installed(self.package)

    def why_not(self) -> str | None:
        """Why it cannot work in this process, as a sentence; None if it can. Imports it if it is installed."""
        if not self.installed():
            return f"{self.package} is not installed (pip install 'openhcs-dagster[{self.extra}]')."
        try:
            load_framework(self.package)
        except LibraryUnavailableError as error:
            return str(error)
        return None

    @abstractmethod
    def owns(self, array: object) -> bool:
        """Whether the array is one of this library's; never imports it."""

    @abstractmethod
    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of one of its arrays."""

    def why_not_hold(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why the library has no array of such shape and dtype, as a clause; None if it has. May import it."""
        if dtype not in self.dtypes:
            return f"{self.memory_type} has no arrays of {dtype}; cast it first, to {', '.join(sorted(self.dtypes))}"
        if self.most_dimensions is not None and len(shape) > self.most_dimensions:
            return f"{self.memory_type} has no arrays of more than {self.most_dimensions} dimensions"
        if not self.takes_empty and 0 in shape:
            return f"{self.memory_type} has no arrays without elements"
        return None

    def why_not_give(self, array: AnyArray) -> str | None:
        """Why the values of one of its arrays cannot be handed over whole, as a clause; None if they can."""
        return None

    def to_dlpack(self, array: AnyArray) -> AnyArray:
        """One of its arrays as an object that has ``__dlpack__`` and ``__dlpack_device__``; most are one themselves.

        A library that cannot hand over to a stream waits for the values first.
        """
        return array

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """Share the memory of what another library's ``to_dlpack`` gave; it lies on ``device``. Called if ``dlpack``.

        Raises BufferError, TypeError, ValueError or RuntimeError where it cannot share it (errors of other kinds must
        be made one of these); the converter then tries the next route.
        """
        raise BufferError(f"{self.memory_type} takes nothing by DLPack.")

    def from_cuda_array(self, exporter: AnyArray, device: str) -> AnyArray:
        """Share GPU memory by ``__cuda_array_interface__``. Called if ``cuda_array_interface``."""
        raise BufferError(f"{self.memory_type} takes nothing by the CUDA array interface.")

    @abstractmethod
    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Take over a NumPy array in native byte order, without negative or zero strides.

        Device ``cpu``: the array is writable, and the library may share its memory; C-contiguous and aligned (64 bytes)
        unless the library ``borrows_strided``. Other devices: the array is only read, and perhaps read-only.
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
    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """Bring an array to a dtype by the law of ``restore_dtype``: rounded half to even, clipped, never stretched.

        ``note`` is called with what that could lose, measured where the array lies.
        """

    def entry_dtype(self, dtype: str) -> str:
        """The dtype in which a stack enters a function of this library; another one where it lacks arithmetic."""
        return dtype

    def scope(self, device: str) -> AbstractContextManager[None]:
        """Work inside goes to the device, on a stream that belongs to this thread where the library has streams."""
        return nullcontext()

    def keeping(self, dtype: str) -> AbstractContextManager[None]:
        """Work inside keeps arrays of this dtype as they are, in this thread, where the library would narrow them."""
        return nullcontext()

    def settle(self) -> None:
        """Called once in a worker process, after the import and before the first work: one thread of its own."""
        return

    def synchronize(self, device: str) -> None:
        """Wait until all work that was given to a device is done."""
        return

    def release(self, device: str) -> None:
        """Give cached memory back to the device, as far as the library can."""
        return

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error says that a device's memory did not suffice."""
        return says_out_of_memory(error)


__all__ = ["AnyArray", "ArrayFacts", "ArrayLibrary", "HostArray"]
