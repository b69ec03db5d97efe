"""What every storage backend must do; subclass it and give it a backend."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from openhcs_engine.errors import MissingKeyError, PlaneReadError, StorageError, StorageKeyError
from openhcs_engine.vfs.backend import ImageInfo, StorageBackend

BAD_KEYS = ("", "/a", "a//b", "a/", "../a", "a/../b", "./a", "a\\b", "C:a", "a\0b", "a\nb", "x" * 256, ".tmp-1/a")
DTYPES = ("bool", "uint8", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64")
SHAPES = ((5, 7), (3, 5, 7), (1, 5, 7), (2, 3, 5, 7), (2, 1, 2, 3, 5), (4,), (), (0, 3), (2, 0))


class StorageContract:
    """Inherited by the test class of each backend."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """An empty backend."""
        raise AssertionError("a subclass gives the backend")

    @pytest.fixture
    def reopened(self, backend: StorageBackend) -> StorageBackend:
        """What another process has that was given the same backend."""
        clone: StorageBackend = pickle.loads(pickle.dumps(backend))  # noqa: S301 # pickled here
        return clone

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_an_array_comes_back_equal(self, backend: StorageBackend, dtype: str) -> None:
        """Shape, dtype and every value survive, whatever the shape."""
        for shape in SHAPES:
            array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 37 % 251).astype(dtype)
            backend.save("well/plane.tif", array)
            loaded = backend.load("well/plane.tif")
            assert (loaded.dtype, loaded.shape) == (array.dtype, shape)
            np.testing.assert_array_equal(loaded, array)

    def test_what_is_no_number_is_refused(self, backend: StorageBackend) -> None:
        """Text, dates and objects have no pixels; the sentence names the dtype and the key."""
        for array in (np.array(["a"]), np.array([object()]), np.array(["2020-01-01"], "datetime64[D]")):
            with pytest.raises(StorageError, match=f"{re.escape(str(array.dtype))}.*'a/b'"):
                backend.save("a/b", array)
        assert backend.list() == ()

    def test_pixel_size_and_channel_come_back(self, backend: StorageBackend) -> None:
        """A backend that says it keeps them does, and the last ones count; others give none."""
        info = ImageInfo(pixel_size_um=0.325, channel="GFP <α> & 5 µm")
        for array in (np.zeros((4, 5), np.uint16), np.zeros((2, 4, 5), np.float32)):
            backend.save("a", array, info=info)
            assert backend.describe("a") == (info if backend.keeps_info else ImageInfo())
        backend.save("a", array)
        assert backend.describe("a") == ImageInfo()
        with pytest.raises(MissingKeyError, match="nothing"):
            backend.describe("nothing")

    @pytest.mark.parametrize(
        "name", ["", "a & b", '<"x">', "it's", "µ 漢字 😀", "&amp;", "]]>", "openhcs shape=9 dtype=bool"]
    )
    def test_channels_may_have_any_name(self, backend: StorageBackend, name: str) -> None:
        """Of whatever letters, and those that a backend uses for itself."""
        backend.save("a", np.zeros((4, 5), np.uint16), info=ImageInfo(channel=name))
        assert backend.describe("a").channel == (name if backend.keeps_info else None)
        assert backend.load("a").shape == (4, 5)

    def test_persistent_backends_are_found_again(self, backend: StorageBackend, request: pytest.FixtureRequest) -> None:
        """The flag says whether another process finds what was saved, and what it saves."""
        backend.save("a/b", np.full((2, 3), 7, np.uint8))
        if not backend.persistent:
            with pytest.raises(StorageError, match="process"):
                request.getfixturevalue("reopened")
            return
        other: StorageBackend = request.getfixturevalue("reopened")
        np.testing.assert_array_equal(other.load("a/b"), backend.load("a/b"))
        assert backend.list() == other.list() == ("a/b",)
        other.save("a/b", np.full((2, 3), 8, np.uint8))
        other.save("c", np.zeros((1, 1), np.uint8))
        assert backend.load("a/b").max() == 8 and backend.list() == ("a/b", "c")
        other.delete("c")
        assert not backend.exists("c") and backend.list() == ("a/b",)

    def test_a_key_is_a_leaf(self, backend: StorageBackend) -> None:
        """A key below a key, or in the place of a folder of keys, is refused and changes nothing."""
        backend.save_bytes("a/b", b"1")
        backend.save("c", np.ones((2, 2), np.uint8))
        for key in ("a", "a/b/c", "c/d", "c/d/e"):
            with pytest.raises(StorageKeyError, match="below a key"):
                backend.save_bytes(key, b"2")
            with pytest.raises(StorageKeyError, match="below a key"):
                backend.save(key, np.zeros((2, 2), np.uint8))
        assert backend.list() == ("a/b", "c") and backend.load("c").sum() == 4

    def test_the_place_of_a_deleted_folder_is_free(self, backend: StorageBackend) -> None:
        """What was a folder of keys may become a key, and the other way round."""
        backend.save("a/b/c", np.zeros((2, 2), np.uint8))
        backend.delete("a/b/c")
        backend.save("a", np.ones((2, 2), np.uint8))
        assert backend.load("a").sum() == 4
        backend.delete("a")
        backend.save_bytes("a/b", b"1")
        assert backend.list() == ("a/b",)

    def test_sweeping_keeps_every_key(self, backend: StorageBackend) -> None:
        """Where no writer was killed there is nothing to remove."""
        backend.save("a/b", np.zeros((2, 2), np.uint8))
        assert backend.sweep() == 0 and backend.list() == ("a/b",)

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

    def test_a_given_array_is_kept_itself_only_where_the_flag_says_so(self, backend: StorageBackend) -> None:
        """Who fills one array again and again must know."""
        array = np.zeros((2, 2), np.uint16)
        backend.save("a", array, give=True)
        assert np.shares_memory(backend.load("a"), array) == backend.shares_memory

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
        backend.save("nothing/else", np.zeros((2, 2), np.uint8))
        for key in ("nothing/here", "nothing", "nothing/else/below"):
            for call in (backend.load, backend.load_bytes, backend.delete, backend.take):
                with pytest.raises(MissingKeyError, match=key) as caught:
                    call(key)
                assert isinstance(caught.value, KeyError) and isinstance(caught.value, FileNotFoundError)
                assert caught.value.key == key

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
        assert backend.load_many([]) == () and len(backend.load_many(["p1", "p1"])) == 2
        with pytest.raises(MissingKeyError, match="p9"):
            backend.load_many(["p0", "p9", "p1"])
        backend.save_bytes("p4", b"no image")
        with pytest.raises(PlaneReadError, match="p4"):
            backend.load_many(["p0", "p4"])

    def test_taking_an_array_leaves_nothing_and_gives_it_away(self, backend: StorageBackend) -> None:
        """The caller may write to what it took."""
        backend.save("a", np.zeros((2, 2), np.uint8), give=True)
        taken = backend.take("a")
        taken[:] = 5
        assert taken.sum() == 20 and not backend.exists("a")
