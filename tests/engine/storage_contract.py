"""What every storage backend must do; subclass it and give it a backend."""

from __future__ import annotations

import numpy as np
import pytest

from openhcs_engine.errors import MissingKeyError, StorageError, StorageKeyError
from openhcs_engine.vfs.backend import StorageBackend

BAD_KEYS = ("", "/a", "a//b", "a/", "../a", "a/../b", "./a", "a\\b", "C:a", "a\0b", "a\nb", "x" * 256, ".tmp-1/a")
DTYPES = ("bool", "uint8", "uint16", "int32", "uint64", "float32", "float64")
SHAPES = ((5, 7), (3, 5, 7), (1, 5, 7), (2, 3, 5, 7), (4,))


class StorageContract:
    """Inherited by the test class of each backend."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """An empty backend."""
        raise AssertionError("a subclass gives the backend")

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_an_array_comes_back_equal(self, backend: StorageBackend, dtype: str, shape: tuple[int, ...]) -> None:
        """Shape, dtype and every value survive."""
        array = (np.arange(np.prod(shape)).reshape(shape) * 37 % 251).astype(dtype)
        backend.save("well/plane.tif", array)
        loaded = backend.load("well/plane.tif")
        assert loaded.dtype == array.dtype
        np.testing.assert_array_equal(loaded, array)

    def test_big_endian_and_strided_arrays_keep_their_values(self, backend: StorageBackend) -> None:
        """Memory layout is the backend's own affair."""
        array = np.arange(60, dtype=">u2").reshape(6, 10)[::2, ::3]
        backend.save("plane.tif", array)
        np.testing.assert_array_equal(backend.load("plane.tif"), array)

    def test_bytes_come_back_equal(self, backend: StorageBackend) -> None:
        """Documents are stored as they are, empty ones too."""
        backend.save_bytes("a/plan.json", b"{}\0\xff")
        backend.save_bytes("a/empty", b"")
        assert (backend.load_bytes("a/plan.json"), backend.load_bytes("a/empty")) == (b"{}\0\xff", b"")

    def test_later_changes_of_a_saved_array_do_not_reach_the_store(self, backend: StorageBackend) -> None:
        """What was saved is a copy."""
        array = np.zeros((2, 2), np.uint16)
        backend.save("a", array)
        array[:] = 9
        assert backend.load("a").max() == 0

    def test_saving_again_replaces(self, backend: StorageBackend) -> None:
        """The last value counts, of whichever kind and shape."""
        backend.save("a", np.zeros((4, 4), np.uint16))
        backend.save("a", np.ones((2, 3), np.float32))
        assert backend.load("a").shape == (2, 3)
        backend.save_bytes("a", b"x")
        assert backend.load_bytes("a") == b"x"
        backend.save("a", np.full((1, 1), 7, np.uint8))
        assert backend.load("a")[0, 0] == 7
        assert backend.list() == ("a",)

    def test_a_missing_key_is_named(self, backend: StorageBackend) -> None:
        """The error is a KeyError and a FileNotFoundError, with the key."""
        for call in (backend.load, backend.load_bytes, backend.delete, backend.take):
            with pytest.raises(MissingKeyError, match="nothing/here") as caught:
                call("nothing/here")
            assert isinstance(caught.value, KeyError) and isinstance(caught.value, FileNotFoundError)
            assert caught.value.key == "nothing/here"

    def test_loading_bytes_as_an_array_is_refused(self, backend: StorageBackend) -> None:
        """Text is no image."""
        backend.save_bytes("a", b"some text, long enough to be read as a header of something")
        with pytest.raises(StorageError, match="a"):
            backend.load("a")

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_keys_that_could_leave_the_place_are_refused(self, backend: StorageBackend, key: str) -> None:
        """By every method, before anything is touched."""
        for call in (backend.load, backend.load_bytes, backend.exists, backend.delete):
            with pytest.raises(StorageKeyError):
                call(key)
        with pytest.raises(StorageKeyError):
            backend.save(key, np.zeros((2, 2)))
        with pytest.raises(StorageKeyError):
            backend.save_bytes(key, b"")
        assert backend.list() == ()

    def test_list_goes_by_folders(self, backend: StorageBackend) -> None:
        """A prefix is a key or a folder, never half a name; keys come sorted."""
        for key in ("s1/b", "s1/a", "s10/a", "top"):
            backend.save(key, np.zeros((2, 2), np.uint8))
        backend.save_bytes("s1/c.json", b"{}")
        assert backend.list() == ("s1/a", "s1/b", "s1/c.json", "s10/a", "top")
        assert backend.list("s1") == backend.list("s1/") == ("s1/a", "s1/b", "s1/c.json")
        assert backend.list("s1/a") == ("s1/a",)
        assert backend.list("nothing") == ()

    def test_exists_is_about_the_exact_key(self, backend: StorageBackend) -> None:
        """A folder of keys is not a key."""
        backend.save("a/b", np.zeros((2, 2), np.uint8))
        assert backend.exists("a/b") and not backend.exists("a") and not backend.exists("a/b/c")

    def test_delete_and_clear_remove(self, backend: StorageBackend) -> None:
        """Deleted keys are gone from every view; others stay."""
        for key in ("a/1", "a/2", "b/1"):
            backend.save(key, np.zeros((2, 2), np.uint8))
        backend.delete("a/1")
        assert backend.list() == ("a/2", "b/1") and not backend.exists("a/1")
        backend.clear("a")
        assert backend.list() == ("b/1",)
        backend.clear()
        assert backend.list() == ()

    def test_many_at_once_equal_one_by_one(self, backend: StorageBackend) -> None:
        """``load_many`` keeps the order of its keys, and fails on the first that is absent."""
        backend.save_many({f"p{number}": np.full((2, 2), number, np.uint8) for number in range(3)})
        assert [array[0, 0] for array in backend.load_many(["p2", "p0", "p1"])] == [2, 0, 1]
        with pytest.raises(MissingKeyError, match="p9"):
            backend.load_many(["p0", "p9"])

    def test_taking_an_array_leaves_nothing_and_gives_it_away(self, backend: StorageBackend) -> None:
        """The caller may write to what it took."""
        backend.save("a", np.zeros((2, 2), np.uint8), give=True)
        taken = backend.take("a")
        taken[:] = 5
        assert taken.sum() == 20 and not backend.exists("a")
