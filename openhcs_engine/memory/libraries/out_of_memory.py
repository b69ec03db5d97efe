"""How each library says that memory did not suffice. Nothing is imported: an error brings its class along.

Matched are the class, by the package that defines it, and where one class stands for many troubles, the text as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One way of saying it."""

    package: str
    """Top-level package that defines the error's class."""
    name: str
    """Name of the class; subclasses count."""
    texts: tuple[str, ...] = ()
    """One of them must be in the message, in any case; empty: the class says it all."""

    def matches(self, error: BaseException) -> bool:
        """Whether the error speaks so."""
        known = any(_package(kind) == self.package and kind.__name__ == self.name for kind in type(error).__mro__)
        return known and (not self.texts or any(text in str(error).lower() for text in self.texts))


_CUDA: Final = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cudaerrormemoryallocation",
    "cuda_error_out_of_memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cufft_alloc_failed",
)
"""The CUDA runtime's, driver's and libraries' own words. Source: the enumerations cudaError_t, CUresult,
cublasStatus_t, cudnnStatus_t and cufftResult of the CUDA toolkit's reference."""

_OPENCL: Final = (
    "cl_mem_object_allocation_failure",
    "cl_out_of_resources",
    "cl_out_of_host_memory",
    "cl_invalid_buffer_size",
)
"""Source: clCreateBuffer in the OpenCL reference; CL_INVALID_BUFFER_SIZE: more than the device gives one buffer."""

SIGNS: Final = (
    Sign(package="builtins", name="MemoryError"),  # NumPy's, and of cupy.cuda.memory.OutOfMemoryError
    Sign(package="torch", name="OutOfMemoryError"),
    # torch on the CPU, and pyclesperanto always, raise bare RuntimeErrors.
    Sign(package="builtins", name="RuntimeError", texts=("defaultcpuallocator: can't allocate memory",)),
    Sign(package="builtins", name="RuntimeError", texts=("defaultcpuallocator: not enough memory",)),
    Sign(package="builtins", name="RuntimeError", texts=_CUDA),
    Sign(package="builtins", name="RuntimeError", texts=_OPENCL),
    Sign(package="cupy_backends", name="CUDARuntimeError", texts=_CUDA),
    Sign(package="cupy_backends", name="CUDADriverError", texts=_CUDA),
    Sign(package="cupy", name="CuFFTError", texts=_CUDA),
    Sign(package="tensorflow", name="ResourceExhaustedError"),
    # A copy to a full GPU. Source: https://github.com/tensorflow/tensorflow/issues/7025
    Sign(package="tensorflow", name="InternalError", texts=("dst tensor is not initialized", *_CUDA)),
    Sign(package="jax", name="JaxRuntimeError", texts=("resource_exhausted", *_CUDA)),
    Sign(package="jaxlib", name="XlaRuntimeError", texts=("resource_exhausted", *_CUDA)),  # jax before 0.8
)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library, or of Python itself, says that a device's or the host's memory did not suffice.

    Functions of one library may call another; so all signs count wherever the error comes from.
    """
    return any(sign.matches(error) for sign in SIGNS)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


__all__ = ["SIGNS", "Sign", "says_out_of_memory"]
