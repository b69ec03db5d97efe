"""Functions whose results are hard to keep between steps, backends of a user's own, and a pipeline of such steps."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from openhcs_engine import FunctionStep, InputSource, Materialize, Pipeline, VariableComponents
from openhcs_engine.errors import PlaneReadError, StorageError
from openhcs_engine.files.keys import check_key, check_prefix, is_below
from openhcs_engine.functions import create_composite, create_max_projection
from openhcs_engine.memory import numpy, special_inputs, special_outputs
from openhcs_engine.memory.stack import Array
from openhcs_engine.vfs.backend import ImageInfo, StorageBackend, check_array
from openhcs_engine.vfs.memory import MemoryBackend

SITE, CHANNEL, Z = VariableComponents.SITE, VariableComponents.CHANNEL, VariableComponents.Z_INDEX
TIME = VariableComponents.TIMEPOINT


@numpy(dtype="native")
def to_float64(stack: Array) -> Array:
    """Numbers that no shorter type holds; one of them is NaN."""
    result = stack * (1 / 3) + stack.std()
    result[:, 0, 0] = np.nan
    return np.asarray(result)


@numpy(dtype="native")
def bright(stack: Array) -> Array:
    """A mask: one bit a pixel."""
    return np.asarray(stack > np.nanmean(stack))


@special_outputs(("regions", "table"), ("objects", "labels"))
@numpy(dtype="float32")
def find_regions(stack: Array) -> tuple[Array, list[dict[str, int]], Array]:
    """Connected regions of a mask; the mask becomes numbers."""
    from scipy import ndimage

    labels = np.stack([ndimage.label(plane)[0] for plane in stack])
    return stack * np.float32(0.1), [{"plane": n, "regions": int(p.max())} for n, p in enumerate(labels)], labels


@special_inputs("objects")
@numpy
def fill_objects(stack: Array, objects: Array) -> Array:
    """Writes into its stack where there are objects."""
    stack[objects > 0] += 3
    return stack


@numpy
def odd_layout(stack: Array, kind: str) -> Array:
    """The brightest plane, or the stack, in memory that is not one plane after another."""
    brightest = stack.max(axis=0, keepdims=True)
    layouts = {
        "broadcast": np.broadcast_to(brightest, stack.shape),
        "writable broadcast": np.lib.stride_tricks.as_strided(brightest, stack.shape, (0, *brightest.strides[1:])),
        "one of many": np.repeat(stack, 2, axis=0)[::2],
        "backwards": stack[::-1, ::-1],
        "columns first": np.asfortranarray(stack),
        "bytes": np.frombuffer(stack.tobytes(), stack.dtype).reshape(stack.shape),
    }
    return layouts[kind]


LAYOUTS = ("broadcast", "writable broadcast", "one of many", "backwards", "columns first", "bytes")


@numpy
def read_only_view_of_one_buffer(stack: Array, kept: dict[str, Array] = {}) -> Array:  # noqa: B006 # that is its fault
    """Fills the same memory for each stack and shows it read-only."""
    buffer = kept.setdefault("buffer", np.empty_like(stack))
    buffer[...] = stack + np.asarray(1, stack.dtype)
    shown = buffer.view()
    shown.flags.writeable = False
    return shown


@numpy
def reuse_one_array(stack: Array, kept: dict[str, Array] = {}) -> Array:  # noqa: B006 # that is its fault
    """Returns the same array for each stack."""
    kept.setdefault("array", np.empty_like(stack))[...] = stack
    return kept["array"]


@numpy
def count_up(stack: Array) -> Array:
    """Writes into its stack: the first plane gets 1, the second 2."""
    stack += np.arange(1, len(stack) + 1, dtype=stack.dtype)[:, None, None]
    return stack


@numpy
def wait_for(stack: Array, file: str) -> Array:
    """Waits until a file is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return stack


@numpy
def over_a_budget_of_its_own(stack: Array) -> Array:
    """A function that keeps more than it allows itself."""
    MemoryBackend(budget_bytes=1).save("stack", stack)
    return stack


EVERYTHING = Pipeline(
    name="Everything",
    steps=[
        FunctionStep(to_float64, variable_components=[Z], materialize=Materialize(sub_folder="numbers")),
        FunctionStep(bright, variable_components=[Z]),
        FunctionStep(find_regions, variable_components=[Z]),
        FunctionStep(fill_objects, variable_components=[Z]),
        FunctionStep((odd_layout, {"kind": "broadcast"}), variable_components=[Z]),
        FunctionStep(count_up, variable_components=[TIME]),
        FunctionStep(create_max_projection, variable_components=[Z], materialize=True),
        FunctionStep(create_composite, variable_components=[CHANNEL]),
    ],
)
"""Float64, bool and float32, side outputs, kept steps, shared memory, two collapsed axes."""

BRANCHES = Pipeline(
    name="Branches",
    steps=[
        FunctionStep(to_float64, variable_components=[SITE]),
        FunctionStep({"DAPI": bright}, variable_components=[Z], uncovered="drop"),
        FunctionStep(to_float64, variable_components=[Z], input_source=InputSource.PIPELINE_START),
        FunctionStep({"GFP": create_max_projection}, variable_components=[Z], uncovered="pass"),
    ],
)
"""Planes that nobody reads, stacks that are dropped or passed, and float64 results."""


class NumpyFiles(StorageBackend):
    """A user's backend: ``.npy`` files; what it loads is read-only."""

    persistent: ClassVar[bool] = True
    atomic_rename = True

    def __init__(self, place: str) -> None:
        self.folder = Path(place)

    def __str__(self) -> str:
        return f"the files in {self.folder}"

    def save(self, key: str, array: Array, *, give: bool = False, info: ImageInfo | None = None) -> None:
        check_array(array, check_key(key))
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        self.save_bytes(key, buffer.getvalue())

    def load(self, key: str) -> Array:
        try:
            array: Array = np.lib.format.read_array(io.BytesIO(self.load_bytes(key)), allow_pickle=False)
        except ValueError as error:
            raise PlaneReadError(f"{key!r} in {self} is no array.", path=key) from error
        array.flags.writeable = False
        return array

    def save_bytes(self, key: str, content: bytes) -> None:
        path = self.folder / check_key(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def load_bytes(self, key: str) -> bytes:
        if not self.exists(key):
            raise self.missing(key)
        return (self.folder / key).read_bytes()

    def exists(self, key: str) -> bool:
        return (self.folder / check_key(key)).is_file()

    def list(self, prefix: str = "") -> tuple[str, ...]:
        folder = check_prefix(prefix)
        keys = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return tuple(sorted(key for key in keys if is_below(key, folder)))

    def delete(self, key: str) -> None:
        if not self.exists(key):
            raise self.missing(key)
        (self.folder / key).unlink()


class TornTape(NumpyFiles):
    """Takes nothing."""

    def save(self, key: str, array: Array, *, give: bool = False, info: Any = None) -> None:
        raise StorageError("the tape is torn")


NUMPY_FILES = f"{__name__}:NumpyFiles"
TORN_TAPE = f"{__name__}:TornTape"
