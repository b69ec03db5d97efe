"""TensorFlow: immutable eager tensors, on the CPU and on GPUs."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from openhcs_engine.memory.conversion.cast_loss import CastNote
from openhcs_engine.memory.decorators import PIXEL_DTYPES
from openhcs_engine.memory.libraries.capsule import CPU_DEVICE, PlainExporter, capsule_address
from openhcs_engine.memory.libraries.casting import BFLOAT16, CastOperations, cast_array, cast_on_host
from openhcs_engine.memory.libraries.contract import AnyArray, ArrayFacts, ArrayLibrary, HostArray
from openhcs_engine.memory.libraries.cuda import cuda_device, gpu_index, synchronize_gpu
from openhcs_engine.memory.loading import load_framework
from openhcs_engine.memory.types import MemoryType

_DEVICE: Final = re.compile(r"device:(CPU|GPU):(\d+)$")
"""The end of ``/job:localhost/replica:0/task:0/device:GPU:0``."""


class TensorFlowLibrary(ArrayLibrary):
    """Eager tensors. Symbolic, ragged and sparse ones, variables and texts are recognised and refused.

    Sources: https://www.tensorflow.org/api_docs/python/tf/experimental/dlpack (capsules only, eager only) and
    https://www.tensorflow.org/guide/gpu#limiting_gpu_memory_growth
    """

    memory_type = MemoryType.TENSORFLOW
    package = "tensorflow"
    extra = "tensorflow"
    immutable = True
    releases_memory = False
    dtypes = frozenset((*PIXEL_DTYPES, BFLOAT16, "complex64", "complex128"))
    environment = MappingProxyType(
        {
            # By default TensorFlow takes nearly all memory of every GPU that it sees.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
            # Errors only: it says at each start how it was built, into the wells' logs.
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        }
    )

    def owns(self, array: object) -> bool:
        """All kinds of tensors, variables included."""
        tf = sys.modules.get(self.package)
        if tf is None or not hasattr(tf, "RaggedTensor"):  # None, or not imported to the end
            return False
        return isinstance(array, tf.Tensor | tf.Variable | tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices)

    def facts(self, array: AnyArray) -> ArrayFacts:
        """What is known of a tensor; one without values in memory has no pointer, and perhaps no shape."""
        usable = self.why_not_give(array) is None
        known = array.shape.is_fully_defined()
        shape = tuple(int(size) for size in array.shape) if known else ()
        return ArrayFacts(
            shape=shape,
            dtype=array.dtype.name,
            nbytes=int(np.prod(shape, dtype=np.int64)) * array.dtype.size if usable else 0,
            device=_device_name(array) if usable else "",
            pointer=capsule_address(array.__dlpack__()) if usable and array.dtype.name in self.dtypes else None,
            writable=False,
        )

    def why_not_give(self, array: AnyArray) -> str | None:
        """Only eager tensors of numbers lie in memory as they are."""
        tf = _tensorflow()
        if isinstance(array, tf.Variable):
            return "it is a variable, which may change later; take its value (variable.value())"
        if isinstance(array, tf.RaggedTensor):
            return "its rows differ in length; pad them first (tensor.to_tensor())"
        if not isinstance(array, tf.Tensor):
            return "it is sparse; make it dense first (tf.sparse.to_dense, tf.convert_to_tensor)"
        if not hasattr(array, "numpy"):
            return "it has no values yet (tf.function is tracing a function); convert outside of it"
        if array.dtype in (tf.string, tf.resource, tf.variant):
            return f"its elements are no numbers ({array.dtype.name})"
        if array.dtype.is_quantized:
            return "it is quantized; make it a float tensor first (tf.quantization.dequantize)"
        return None

    def to_dlpack(self, array: AnyArray) -> AnyArray:
        """TensorFlow hands over to no stream: all that its GPUs have to do is waited for."""
        if _device_name(array).startswith("gpu"):
            _tensorflow().test.experimental.sync_devices()
        return PlainExporter(array)

    def from_dlpack(self, exporter: AnyArray, device: str) -> AnyArray:
        """By capsule. TensorFlow waits for no stream either: all work of this process on the GPU is waited for.

        Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/c/eager/dlpack.cc
        """
        tf = _tensorflow()
        if exporter.__dlpack_device__()[0] != CPU_DEVICE:
            if hasattr(exporter, "block_until_ready"):  # JAX's streams are beyond anybody's reach
                exporter.block_until_ready()
            synchronize_gpu(device)
        try:
            with cuda_device(device):
                return tf.experimental.dlpack.from_dlpack(exporter.__dlpack__())
        except tf.errors.OpError as error:
            raise BufferError(str(error)) from error

    def from_host(self, array: HostArray, device: str) -> AnyArray:
        """Shared, or uploaded."""
        tf = _tensorflow()
        if device == "cpu":
            return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
        with tf.device(_tf_device(device)):
            return tf.convert_to_tensor(array)

    def to_host(self, array: AnyArray) -> HostArray:
        """Shared and read-only, or downloaded; waits for the values."""
        return np.asarray(array)

    def copy(self, array: AnyArray) -> AnyArray:
        """``DeepCopy``: ``tf.identity`` shares the memory."""
        with _on_device_of(array):
            return _tensorflow().raw_ops.DeepCopy(x=array)

    def cast(self, array: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
        """On the CPU by NumPy on the same memory; on a GPU by TensorFlow, without leaving it."""
        source, device = array.dtype.name, _device_name(array)
        if source == dtype:
            return array
        if device.startswith("cpu") and dtype != BFLOAT16:
            return self.from_host(cast_on_host(self.to_host(array), dtype, note), device)
        return cast_on_device(array, dtype, note)

    def scope(self, device: str) -> AbstractContextManager[None]:
        """Work inside goes to the device; a GPU's is finished at the end.

        Its inputs may belong to other libraries, which know nothing of TensorFlow's stream, and would use their memory
        again as soon as Python drops them.
        """
        return _device_scope(device)

    def synchronize(self, device: str) -> None:
        """Source: https://www.tensorflow.org/api_docs/python/tf/test/experimental/sync_devices"""
        if gpu_index(device) is not None:
            _tensorflow().test.experimental.sync_devices()

    def release(self, device: str) -> None:
        """Drop what only reference cycles keep; only the end of the process gives memory back to the device.

        Source: https://www.tensorflow.org/guide/gpu#limiting_gpu_memory_growth ("we do not release memory").
        """
        gc.collect()

    def settle(self) -> None:
        """One thread for each process; no effect once TensorFlow has computed something."""
        threading = _tensorflow().config.threading
        with suppress(RuntimeError):
            threading.set_intra_op_parallelism_threads(1)
            threading.set_inter_op_parallelism_threads(1)


def cast_on_device(tensor: AnyArray, dtype: str, note: CastNote | None = None) -> AnyArray:
    """The law of ``restore_dtype`` with TensorFlow's own operations."""
    with _on_device_of(tensor):
        return cast_array(_operations(_tensorflow()), tensor, tensor.dtype.name, dtype, note)


def _tensorflow() -> Any:  # the module; it is not there for the type checker
    return load_framework("tensorflow")


def _device_name(tensor: AnyArray) -> str:
    # Not tensor.device, which is where it was computed: GPU kernels may leave results in the host's memory.
    found = _DEVICE.search(tensor.backing_device)
    if found is None or found.groups() == ("CPU", "0"):
        return "cpu"
    return f"{found[1].lower()}:{found[2]}"


def _tf_device(device: str) -> str:
    platform, _, number = device.partition(":")
    return f"/device:{platform.upper()}:{number or 0}"


def _on_device_of(tensor: AnyArray) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = _tensorflow().device(tensor.backing_device)
    return context


@contextmanager
def _device_scope(device: str) -> Iterator[None]:
    tf = _tensorflow()
    with tf.device(_tf_device(device)):
        try:
            yield
        finally:
            if gpu_index(device) is not None:
                tf.test.experimental.sync_devices()


def _operations(tf: Any) -> CastOperations:
    return CastOperations(
        astype=lambda array, dtype: tf.cast(array, dtype),
        round=tf.round,
        extent=lambda array: _extent(tf, array),
        count=lambda mask: int(tf.math.count_nonzero(mask)),
        total=lambda array: float(tf.reduce_sum(array)),
        changed=lambda kept, array: int(tf.math.count_nonzero(_signed(tf, kept) != _signed(tf, array))),
        # By NumPy: TensorFlow makes no bool of 0 and 1.
        choose=lambda where, number, other: tf.where(where, np.asarray(number, other.dtype.as_numpy_dtype), other),
        clip=lambda array, low, high: tf.clip_by_value(
            array, tf.constant(low, array.dtype), tf.constant(high, array.dtype)
        ),
    )


def _extent(tf: Any, array: AnyArray) -> tuple[float, float]:
    """NaN if there is one: what TensorFlow's own extremes make of it depends on the device."""
    if array.dtype.is_floating and bool(tf.reduce_any(tf.math.is_nan(array))):
        return float("nan"), float("nan")
    moved = array.dtype == tf.uint64  # by 2**63, so that all numbers are in order as signed ones
    if not array.dtype.is_floating:
        array = _signed(tf, array)
        array = tf.bitwise.bitwise_xor(array, tf.int64.min) if moved else array
    low, high = tf.stack([tf.reduce_min(array), tf.reduce_max(array)]).numpy().tolist()
    return (low + 2**63, high + 2**63) if moved else (low, high)


def _signed(tf: Any, array: AnyArray) -> AnyArray:
    """Integers as int64, for which every device has all operations; numbers from 2**63 on look negative."""
    return tf.bitcast(array, tf.int64) if array.dtype == tf.uint64 else tf.cast(array, tf.int64)


__all__ = ["TensorFlowLibrary", "cast_on_device"]
