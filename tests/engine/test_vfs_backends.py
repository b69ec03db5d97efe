"""The backends memory, disk and zarr, and the registry."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openhcs_engine.errors import MissingKeyError, StorageError, StorageKeyError, UnknownBackendError
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.registry import StorageRegistry, default_storage
from openhcs_engine.vfs.zarr import ZarrBackend
from tests.engine.storage_contract import StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return MemoryBackend()

    def test_load_hands_out_a_read_only_view(self, backend: StorageBackend) -> None:
        """Nobody changes what others will load."""
        backend.save("a", np.zeros((2, 2)))
        with pytest.raises(ValueError, match="read-only"):
            backend.load("a")[0, 0] = 1

    def test_a_given_array_is_not_copied(self, backend: StorageBackend) -> None:
        """``give`` hands the memory over."""
        array = np.zeros((2, 2))
        backend.save("a", array, give=True)
        assert np.shares_memory(backend.load("a"), array)

    def test_it_refuses_to_leave_its_process(self, backend: StorageBackend) -> None:
        """The error says which backends can."""
        with pytest.raises(StorageError, match="disk or zarr"):
            pickle.dumps(backend)

    def test_it_counts_its_bytes(self) -> None:
        """Arrays and documents, until they are removed."""
        backend = MemoryBackend()
        backend.save("a", np.zeros((2, 2), np.uint16))
        backend.save_bytes("b", b"123")
        assert backend.nbytes == 11
        backend.clear()
        assert backend.nbytes == 0


class TestDisk(StorageContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        return DiskBackend(tmp_path / "root")

    def test_arrays_are_tiff_files(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Any program opens them under the key's name."""
        plane = np.arange(12, dtype=np.uint16).reshape(3, 4)
        backend.save("B03/plane.tif", plane)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "root" / "B03" / "plane.tif"), plane)

    def test_a_cut_off_file_is_an_error(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Never zeros."""
        backend.save("a.tif", np.ones((50, 50), np.uint16))
        file = tmp_path / "root" / "a.tif"
        content = file.read_bytes()
        for size in (*range(0, 400, 7), len(content) - 1):
            file.write_bytes(content[:size])
            with pytest.raises(StorageError):
                backend.load("a.tif")

    def test_a_failed_write_keeps_the_old_value_and_leaves_no_file(
        self, backend: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write is whole or absent."""
        backend.save_bytes("a", b"old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            backend.save_bytes("a", b"new")
        assert backend.load_bytes("a") == b"old"
        assert [path.name for path in (tmp_path / "root").iterdir()] == ["a"]

    def test_deleting_the_last_key_of_a_folder_removes_the_folder(
        self, backend: StorageBackend, tmp_path: Path
    ) -> None:
        """Nothing is left of what was cleared."""
        backend.save("a/b/c", np.zeros((2, 2)))
        backend.delete("a/b/c")
        assert list((tmp_path / "root").iterdir()) == []

    def test_a_key_below_a_key_is_refused(self, backend: StorageBackend) -> None:
        """Keys are leaves."""
        backend.save_bytes("a", b"")
        with pytest.raises(StorageKeyError, match="below"):
            backend.save_bytes("a/b", b"")


class TestDiskOnAnFsspecAddress(StorageContract):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return DiskBackend(f"memory://{uuid.uuid4().hex}/plate")

    def test_it_does_not_promise_renames(self, backend: StorageBackend) -> None:
        """Object stores have none."""
        assert not backend.atomic_rename and DiskBackend("/tmp").atomic_rename


class TestZarr(StorageContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        return ZarrBackend(tmp_path / "root")

    def test_arrays_are_zarr_v3(self, backend: StorageBackend, tmp_path: Path) -> None:
        """zarr-python opens them under the key's name."""
        stack = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
        backend.save("B03/stack", stack)
        stored = zarr.open_array(str(tmp_path / "root" / "B03" / "stack"), mode="r")
        assert stored.metadata.zarr_format == 3 and stored.chunks == (1, 3, 4)
        np.testing.assert_array_equal(stored[...], stack)

    def test_a_failed_write_keeps_the_old_array_and_leaves_no_file(
        self, backend: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An array appears whole or not at all."""
        backend.save("a", np.ones((2, 2)))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ZarrBackend, "_replace", full)
        with pytest.raises(OSError, match="No space"):
            backend.save("a", np.zeros((2, 2)))
        assert backend.load("a").sum() == 4
        assert [path.name for path in (tmp_path / "root").iterdir()] == ["a"]

    def test_keys_below_an_array_are_refused(self, backend: StorageBackend) -> None:
        """An array's folder holds nothing else."""
        backend.save("a", np.ones((2, 2)))
        with pytest.raises(StorageKeyError):
            backend.save_bytes("a/b", b"")
        with pytest.raises(StorageKeyError):
            backend.save_bytes("c/zarr.json", b"")


class AgainstADict(RuleBasedStateMachine):
    """Whatever is done in whatever order, a backend answers as a dict of arrays and bytes would."""

    keys = st.sampled_from(["a", "b/c", "b/d", "e/f/g"])

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, bytes | np.ndarray] = {}
        self.backend = self.make()

    def make(self) -> StorageBackend:
        return MemoryBackend()

    @rule(key=keys, value=st.integers(0, 255), size=st.integers(1, 4))
    def save(self, key: str, value: int, size: int) -> None:
        self.model[key] = np.full((size, 3), value, np.uint8)
        self.backend.save(key, np.full((size, 3), value, np.uint8))

    @rule(key=keys, content=st.binary(max_size=20))
    def save_bytes(self, key: str, content: bytes) -> None:
        self.model[key] = content
        self.backend.save_bytes(key, content)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        if key in self.model:
            del self.model[key]
            self.backend.delete(key)
        else:
            with pytest.raises(MissingKeyError):
                self.backend.delete(key)

    @rule(prefix=st.sampled_from(["", "b", "e/f", "a"]))
    def clear(self, prefix: str) -> None:
        gone = [key for key in self.model if not prefix or key == prefix or key.startswith(prefix + "/")]
        for key in gone:
            del self.model[key]
        self.backend.clear(prefix)

    @invariant()
    def agrees(self) -> None:
        assert self.backend.list() == tuple(sorted(self.model))
        for key, value in self.model.items():
            if isinstance(value, bytes):
                assert self.backend.load_bytes(key) == value
            else:
                np.testing.assert_array_equal(self.backend.load(key), value)


class DiskAgainstADict(AgainstADict):
    def make(self) -> StorageBackend:
        return DiskBackend(f"memory://{uuid.uuid4().hex}")


AgainstADict.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
DiskAgainstADict.TestCase.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
TestMemoryAgainstADict = AgainstADict.TestCase
TestDiskAgainstADict = DiskAgainstADict.TestCase


def test_the_registry_makes_each_backend_once(tmp_path: Path) -> None:
    """Whoever asks for a name gets the same object; nothing is written before a save."""
    registry = default_storage(tmp_path / "scratch")
    assert registry.names == ("disk", "memory", "zarr")
    assert registry.get("memory") is registry.get("memory")
    assert registry.get("disk") and not (tmp_path / "scratch").exists()


def test_an_unknown_backend_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A typing error is found at once."""
    with pytest.raises(UnknownBackendError, match=r"'zar' \(known: disk, memory, zarr\)"):
        default_storage(tmp_path).get("zar")


def test_users_add_backends_without_changing_the_registry_they_were_given(tmp_path: Path) -> None:
    """Adding makes another registry."""
    registry = default_storage(tmp_path)
    added = registry.adding("mine", MemoryBackend)
    assert "mine" in added.names and "mine" not in registry.names
    assert isinstance(added.get("mine"), MemoryBackend)


def test_a_pickled_registry_starts_with_an_empty_memory(tmp_path: Path) -> None:
    """Memory stays in its process, persistent backends are found again."""
    registry = default_storage(tmp_path)
    for name in registry.names:
        registry.get(name).save("a", np.ones((2, 2), np.uint8))
    other: StorageRegistry = pickle.loads(pickle.dumps(registry))
    found = {name: other.get(name).exists("a") for name in other.names}
    assert found == {name: registry.get(name).persistent for name in registry.names}
