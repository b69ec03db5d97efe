"""Whatever is done in whatever order, every backend answers as a dict of arrays and bytes would."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from openhcs_engine.errors import MissingKeyError, PlaneReadError, StorageBudgetError, StorageKeyError
from openhcs_engine.files.keys import is_below
from openhcs_engine.vfs.backend import ImageInfo, StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.zarr import ZarrBackend

KEYS = ("a", "a/b", "b/c", "b/d", "e/f/g", "e/f")
PREFIXES = ("", "a", "b", "b/", "e", "e/f", "nothing")
Value = bytes | tuple[np.ndarray[Any, Any], ImageInfo]


class AgainstADict(RuleBasedStateMachine):
    """``a`` and ``a/b``, ``e/f`` and ``e/f/g`` exclude each other."""

    keys = st.sampled_from(KEYS)

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Value] = {}
        self.backend = self.make()

    def make(self) -> StorageBackend:
        return MemoryBackend()

    @rule(key=keys, fill=st.integers(0, 255), rows=st.integers(0, 3), give=st.booleans(), size=st.none() | st.just(0.5))
    def save(self, key: str, fill: int, rows: int, give: bool, size: float | None) -> None:
        array, info = np.full((rows, 3), fill, np.uint8), ImageInfo(pixel_size_um=size if rows else None)
        if self.refused(key):
            with pytest.raises(StorageKeyError):
                self.backend.save(key, array)
            return
        self.backend.save(key, array.copy(), give=give, info=info)
        self.model[key] = array, info

    @rule(key=keys, content=st.binary(max_size=20))
    def save_bytes(self, key: str, content: bytes) -> None:
        if self.refused(key):
            with pytest.raises(StorageKeyError):
                self.backend.save_bytes(key, content)
            return
        self.backend.save_bytes(key, content)
        self.model[key] = content

    @rule(wanted=st.lists(keys, max_size=4))
    def load_many(self, wanted: list[str]) -> None:
        values = [self.model.get(key) for key in wanted]
        bad = next((value for value in values if not isinstance(value, tuple)), ...)
        if bad is ...:
            for loaded, value in zip(self.backend.load_many(wanted), values, strict=True):
                assert isinstance(value, tuple)
                np.testing.assert_array_equal(loaded, value[0])
            return
        with pytest.raises(MissingKeyError if bad is None else PlaneReadError):
            self.backend.load_many(wanted)

    @rule(key=keys)
    def take(self, key: str) -> None:
        value = self.model.get(key)
        if not isinstance(value, tuple):
            with pytest.raises(MissingKeyError if value is None else PlaneReadError):
                self.backend.take(key)
            return
        taken = self.backend.take(key)
        np.testing.assert_array_equal(taken, value[0])
        taken[...] = 1
        del self.model[key]

    @rule(key=keys)
    def delete(self, key: str) -> None:
        if key in self.model:
            del self.model[key]
            self.backend.delete(key)
            return
        with pytest.raises(MissingKeyError):
            self.backend.delete(key)

    @rule(prefix=st.sampled_from(PREFIXES))
    def clear(self, prefix: str) -> None:
        self.backend.clear(prefix)
        for key in [key for key in self.model if is_below(key, prefix.removesuffix("/"))]:
            del self.model[key]

    @rule()
    def sweep(self) -> None:
        assert self.backend.sweep() == 0

    @invariant()
    def agrees(self) -> None:
        assert self.backend.list() == tuple(sorted(self.model))
        for key, value in self.model.items():
            if isinstance(value, bytes):
                assert self.backend.load_bytes(key) == value
            else:
                np.testing.assert_array_equal(self.backend.load(key), value[0])
                assert self.backend.describe(key) == value[1]

    @rule(key=keys, prefix=st.sampled_from(PREFIXES))
    def look(self, key: str, prefix: str) -> None:
        assert self.backend.exists(key) == (key in self.model)
        expected = sorted(key for key in self.model if is_below(key, prefix.removesuffix("/")))
        assert self.backend.list(prefix) == tuple(expected)

    def refused(self, key: str) -> bool:
        return any(key != other and (is_below(key, other) or is_below(other, key)) for other in self.model)


class MemoryWithABudget(AgainstADict):
    """What does not fit is refused and changes nothing; what is held is counted exactly."""

    budget = 12

    def make(self) -> StorageBackend:
        return MemoryBackend(budget_bytes=self.budget)

    def used(self, without: str) -> int:
        sizes = {k: len(v) if isinstance(v, bytes) else v[0].nbytes for k, v in self.model.items() if k != without}
        return sum(sizes.values())

    @rule(key=AgainstADict.keys, fill=st.integers(0, 255), rows=st.integers(0, 3))
    def save(self, key: str, fill: int, rows: int) -> None:
        if self.refused(key) or self.used(key) + 3 * rows <= self.budget:
            super().save(key, fill, rows, False, None)
            return
        with pytest.raises(StorageBudgetError):
            self.backend.save(key, np.full((rows, 3), fill, np.uint8))

    @rule(key=AgainstADict.keys, content=st.binary(max_size=12))
    def save_bytes(self, key: str, content: bytes) -> None:
        if self.refused(key) or self.used(key) + len(content) <= self.budget:
            super().save_bytes(key, content)
            return
        with pytest.raises(StorageBudgetError):
            self.backend.save_bytes(key, content)

    @invariant()
    def counts(self) -> None:
        assert isinstance(self.backend, MemoryBackend)
        assert self.backend.nbytes == self.used("")


class InAFolder(AgainstADict):
    """Below a new folder, which is empty when all keys are deleted."""

    def make(self) -> StorageBackend:
        self.folder = Path(tempfile.mkdtemp())
        return self.make_in(str(self.folder))

    def make_in(self, root: str) -> StorageBackend:
        raise AssertionError("a subclass says which")

    def teardown(self) -> None:
        self.backend.clear()
        left = [path.name for path in self.folder.iterdir()]
        shutil.rmtree(self.folder)
        assert left == []


class DiskInAFolder(InAFolder):
    def make_in(self, root: str) -> StorageBackend:
        return DiskBackend(root)


class ZarrInAFolder(InAFolder):
    def make_in(self, root: str) -> StorageBackend:
        return ZarrBackend(root)


class DiskInFsspecMemory(AgainstADict):
    def make(self) -> StorageBackend:
        return DiskBackend(f"memory://{uuid.uuid4().hex}")


class ZarrInFsspecMemory(AgainstADict):
    def make(self) -> StorageBackend:
        return ZarrBackend(f"memory://{uuid.uuid4().hex}")


BOUNDED = settings(max_examples=12, stateful_step_count=15)
TestMemory = AgainstADict.TestCase
TestMemoryWithABudget = MemoryWithABudget.TestCase
TestDiskInAFolder = DiskInAFolder.TestCase
TestZarrInAFolder = ZarrInAFolder.TestCase
TestDiskInFsspecMemory = DiskInFsspecMemory.TestCase
TestZarrInFsspecMemory = ZarrInFsspecMemory.TestCase
TestMemory.settings = TestMemoryWithABudget.settings = settings(BOUNDED, max_examples=40, stateful_step_count=25)
TestDiskInAFolder.settings = TestZarrInAFolder.settings = BOUNDED
TestDiskInFsspecMemory.settings = TestZarrInFsspecMemory.settings = BOUNDED


@pytest.mark.parametrize("make", [DiskBackend, ZarrBackend])
def test_in_an_object_store(bucket: str, make: type[DiskBackend] | type[ZarrBackend]) -> None:
    """The same law behind s3://, in a few examples: every request goes over the network."""

    class InS3(AgainstADict):
        def make(self) -> StorageBackend:
            return make(f"{bucket}/{uuid.uuid4().hex}")

    few = settings(max_examples=3, stateful_step_count=8, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(InS3, settings=few)
