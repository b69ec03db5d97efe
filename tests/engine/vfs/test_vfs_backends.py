"""The backends memory, disk and zarr, in folders of this host and behind URLs."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import fsspec
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
import zarr.storage
from defusedxml.ElementTree import fromstring
from fsspec.implementations.memory import MemoryFileSystem

from openhcs_engine.errors import OptionError, PlaneReadError, StorageBudgetError, StorageError, StorageKeyError
from openhcs_engine.memory.conversion.aligned import is_aligned
from openhcs_engine.testing import StorageContract
from openhcs_engine.vfs.backend import ImageInfo, StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.zarr import ZarrBackend

NOISE = np.random.default_rng(5).poisson(200, (3, 300, 70)).astype(np.uint16)


class TestMemory(StorageContract):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return MemoryBackend()

    def test_load_hands_out_a_read_only_view(self, backend: StorageBackend) -> None:
        """Nobody changes what others will load."""
        backend.save("a", np.zeros((2, 2)))
        with pytest.raises(ValueError, match="read-only"):
            backend.load("a")[0, 0] = 1

    def test_it_refuses_to_leave_its_process(self, request: pytest.FixtureRequest) -> None:
        """The error says which backends can."""
        with pytest.raises(StorageError, match="disk or zarr"):
            request.getfixturevalue("reopened")

    def test_it_counts_its_bytes(self) -> None:
        """Arrays and documents, until they are removed or replaced."""
        backend = MemoryBackend()
        backend.save("a", np.zeros((2, 2), np.uint16))
        backend.save_bytes("b", b"123")
        assert backend.nbytes == 11
        backend.save_bytes("a", b"1")
        assert backend.nbytes == 4
        backend.save("c", np.zeros(5, np.uint8))
        backend.take("c")
        assert backend.nbytes == 4
        backend.clear()
        assert backend.nbytes == 0

    def test_what_exceeds_the_budget_is_refused_and_changes_nothing(self) -> None:
        """The error has budget, used and asked, and says what to do; what fits after it is still stored."""
        backend = MemoryBackend(budget_bytes=3000)
        backend.save("a", np.zeros((20, 100), np.uint8))
        with pytest.raises(StorageBudgetError, match=r"1\.5 kB of memory.* 2\.0 kB of the budget of 3\.0 kB") as caught:
            backend.save("b", np.zeros(1500, np.uint8))
        assert (caught.value.key, caught.value.budget, caught.value.used, caught.value.asked) == ("b", 3000, 2000, 1500)
        assert "on disk" in str(caught.value)
        with pytest.raises(StorageBudgetError):
            backend.save_bytes("b", bytes(1001))
        backend.save("b", np.zeros(1000, np.uint8))
        assert backend.list() == ("a", "b") and backend.nbytes == 3000

    def test_replacing_counts_what_it_frees(self) -> None:
        """A value of the same size replaces the old one in a full backend; a larger one leaves the old one there."""
        backend = MemoryBackend(budget_bytes=4)
        backend.save("a", np.zeros((2, 2), np.uint8))
        backend.save("a", np.ones((2, 2), np.uint8))
        with pytest.raises(StorageBudgetError):
            backend.save("a", np.ones((2, 3), np.uint8))
        assert backend.load("a").sum() == 4

    def test_a_budget_is_positive(self) -> None:
        """Zero would refuse everything."""
        with pytest.raises(OptionError, match="0 bytes"):
            MemoryBackend(budget_bytes=0)


class FilesContract(StorageContract):
    """What holds for disk and zarr, wherever they are."""

    def test_loaded_arrays_are_aligned_and_writable(self, backend: StorageBackend) -> None:
        """Every array library can take them without a copy."""
        backend.save("a.tif", NOISE)
        loaded = backend.load("a.tif")
        assert is_aligned(loaded) and loaded.flags.writeable


class LocalFilesContract(FilesContract):
    """What holds for disk and zarr in a folder."""

    def test_renames_are_promised(self, backend: StorageBackend) -> None:
        """A folder of this host has them."""
        assert backend.atomic_rename

    def test_nothing_is_made_before_a_save(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Asking leaves no folder behind."""
        assert backend.list() == () and not backend.exists("a") and backend.sweep() == 0
        assert list(tmp_path.iterdir()) == []

    def test_deleting_the_last_key_of_a_folder_removes_the_folder(
        self, backend: StorageBackend, tmp_path: Path
    ) -> None:
        """Nothing is left of what was cleared."""
        backend.save("a/b/c", np.zeros((2, 2)))
        backend.delete("a/b/c")
        assert list((tmp_path / "root").iterdir()) == []

    def test_a_full_disk_keeps_the_old_value_and_leaves_no_file(
        self, backend: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write is whole or absent, and the sentence names the reason, the key and the place."""
        backend.save("a/b", np.ones((2, 2), np.uint8))
        backend.save_bytes("a/c", b"old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            patch.setattr(Path, "rename", full)
            with pytest.raises(StorageError, match=r"'a/b'.*root: No space left.*another place"):
                backend.save("a/b", np.zeros((2, 2), np.uint8))
            with pytest.raises(StorageError, match="No space left"):
                backend.save_bytes("a/c", b"new")
        assert backend.load("a/b").sum() == 4 and backend.load_bytes("a/c") == b"old"
        assert sorted(path.name for path in (tmp_path / "root" / "a").iterdir()) == ["b", "c"]

    def test_a_file_in_the_place_of_the_root_is_an_error(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Not an empty backend that swallows what is saved."""
        (tmp_path / "root").write_text("a file")
        with pytest.raises(StorageError):
            backend.save("a", np.zeros((2, 2)))


class TestDisk(LocalFilesContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        return DiskBackend(tmp_path / "root")

    def test_arrays_are_tiff_files(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Any program opens planes and stacks under the key's name."""
        for key, array in (("B03/plane.tif", NOISE[0]), ("B03/stack.tif", NOISE)):
            backend.save(key, array)
            np.testing.assert_array_equal(tifffile.imread(tmp_path / "root" / key), array)

    @pytest.mark.parametrize("compression", [None, "zstd", "zlib", "lzw"])
    def test_the_file_says_pixel_size_and_channel_in_ome_xml(self, tmp_path: Path, compression: str | None) -> None:
        """With every compression; the pixels are equal, and compressed files are smaller."""
        backend = DiskBackend(tmp_path, compression=compression)
        backend.save("stack.ome.tif", NOISE, info=ImageInfo(pixel_size_um=0.65, channel="DAPI"))
        with tifffile.TiffFile(tmp_path / "stack.ome.tif") as tiff:
            assert tiff.is_ome
            pixels = next(item for item in fromstring(tiff.pages.first.description).iter() if "Pixels" in item.tag)
            np.testing.assert_array_equal(tiff.series[0].asarray(), NOISE)
        told = {name: pixels.get(name) for name in ("PhysicalSizeX", "PhysicalSizeYUnit", "SizeZ", "SizeX", "Type")}
        assert told == {
            "PhysicalSizeX": "0.65",
            "PhysicalSizeYUnit": "µm",
            "SizeZ": "3",
            "SizeX": "70",
            "Type": "uint16",
        }
        assert [item.get("Name") for item in pixels if "Channel" in item.tag] == ["DAPI"]
        np.testing.assert_array_equal(backend.load("stack.ome.tif"), NOISE)
        assert ((tmp_path / "stack.ome.tif").stat().st_size < NOISE.nbytes) == (compression is not None)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 5), (1, 4, 5), (2, 3, 4, 5)], ids=str)
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "uint32", "float32", "float64", "complex64"])
    def test_the_ome_xml_is_as_its_schema_prescribes(self, tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
        """Whatever the channel is called."""
        info = ImageInfo(pixel_size_um=1e-9, channel="a & b <\"'x'\"> µ 漢 😀 ]]> \0\a\t\ud800")
        DiskBackend(tmp_path).save("a.tif", np.ones(shape, dtype), info=info)
        (image,) = ome_types.from_tiff(tmp_path / "a.tif", validate=True).images
        assert image.pixels.channels[0].name == info.channel == "a & b <\"'x'\"> µ 漢 😀 ]]>     "
        assert image.pixels.physical_size_x == 1e-9

    def test_damaged_ome_xml_is_an_error_of_ours(self, tmp_path: Path) -> None:
        """As every other damage."""
        backend = DiskBackend(tmp_path)
        backend.save("a.tif", np.ones((4, 5), np.uint16), info=ImageInfo(channel="DAPI"))
        place = tmp_path / "a.tif"
        place.write_bytes(place.read_bytes().replace(b"<Channel ", b"<<hannel "))
        with pytest.raises(PlaneReadError, match="OME-XML is damaged"):
            backend.describe("a.tif")

    @pytest.mark.parametrize("dtype", ["bool", "float32", "complex64", "int64"])
    @pytest.mark.parametrize("compression", ["zstd", "zlib", "lzw"])
    def test_every_dtype_can_be_compressed(self, tmp_path: Path, compression: str, dtype: str) -> None:
        """Also those that a predictor is not for."""
        backend = DiskBackend(tmp_path, compression=compression)
        backend.save("a.tif", NOISE.astype(dtype))
        np.testing.assert_array_equal(backend.load("a.tif"), NOISE.astype(dtype))

    def test_an_unknown_compression_is_refused(self, tmp_path: Path) -> None:
        """The message lists the known ones."""
        with pytest.raises(OptionError, match=r"'jpeg' is unknown \(choose from None, lzw, zlib, zstd\)"):
            DiskBackend(tmp_path, compression="jpeg")

    @pytest.mark.parametrize("compression", [None, "zstd"])
    def test_a_cut_off_file_is_an_error(self, tmp_path: Path, compression: str | None) -> None:
        """Never zeros."""
        backend = DiskBackend(tmp_path, compression=compression)
        backend.save("a.tif", NOISE)
        file = tmp_path / "a.tif"
        content = file.read_bytes()
        for size in (*range(0, 600, 7), len(content) // 3, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:size])
            with pytest.raises(PlaneReadError, match=r"a\.tif"):
                backend.load("a.tif")

    def test_a_file_of_another_program_is_refused(self, tmp_path: Path) -> None:
        """The backend gives back what was saved, and reads no plates."""
        tifffile.imwrite(tmp_path / "a.tif", NOISE[0])
        with pytest.raises(PlaneReadError, match="another program wrote it"):
            DiskBackend(tmp_path).load("a.tif")

    def test_a_false_shape_takes_no_memory(self, tmp_path: Path) -> None:
        """A description that claims a terabyte is refused."""
        backend = DiskBackend(tmp_path)
        backend.save("a.tif", NOISE.astype(np.int64))
        content = (tmp_path / "a.tif").read_bytes()
        assert content.count(b"shape=3,300,70") == 1
        (tmp_path / "a.tif").write_bytes(content.replace(b"shape=3,300,70", b"shape=333333,9"))
        with pytest.raises(PlaneReadError, match="shape"):
            backend.load("a.tif")


class TestZarr(LocalFilesContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> StorageBackend:
        return ZarrBackend(tmp_path / "root")

    def test_keys_named_as_zarr_s_own_files_are_refused(self, backend: StorageBackend) -> None:
        """They would turn a folder of keys into an array."""
        for key in ("c/zarr.json", "zarr.json", "zarr.json/a"):
            with pytest.raises(StorageKeyError, match="marks arrays"):
                backend.save_bytes(key, b"")

    @pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
    @pytest.mark.parametrize("dtype", ["bool", "uint16", "float32", "complex64", "int64"])
    def test_zarr_python_reads_the_array(self, tmp_path: Path, compression: str | None, dtype: str) -> None:
        """Under the key's name, one chunk a plane, with axes and what it shows."""
        array = NOISE.astype(dtype)
        backend = ZarrBackend(tmp_path, compression=compression)
        backend.save("B03/stack", array, info=ImageInfo(pixel_size_um=0.5, channel="DAPI"))
        stored = zarr.open_array(str(tmp_path / "B03" / "stack"), mode="r")
        assert stored.metadata.zarr_format == 3 and stored.chunks == (1, 300, 70)
        assert stored.metadata.dimension_names == (None, "y", "x")
        assert stored.attrs["openhcs"] == {"pixel_size_um": 0.5, "channel": "DAPI"}
        np.testing.assert_array_equal(stored[...], array)

    def test_an_array_that_zarr_python_wrote_is_read(self, tmp_path: Path) -> None:
        """Also without checksums, and where chunks go over the edge."""
        array = zarr.create_array(
            str(tmp_path / "a"), shape=NOISE.shape, chunks=(1, 128, 64), dtype="uint16",
            compressors=zarr.codecs.BloscCodec(cname="lz4"), config={"write_empty_chunks": True},
        )  # fmt: skip
        array[...] = NOISE
        np.testing.assert_array_equal(ZarrBackend(tmp_path).load("a"), NOISE)

    def test_planes_too_large_for_a_chunk_are_cut(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blosc takes two gigabytes; a stitched plane may be larger. The limit is small here."""
        monkeypatch.setattr("openhcs_engine.vfs.zarr_codec._MOST_BYTES", 70 * 2 * 128)
        backend = ZarrBackend(tmp_path)
        for array in (NOISE, NOISE.reshape(-1)):
            backend.save("a", array)
            stored = zarr.open_array(str(tmp_path / "a"), mode="r")
            assert np.prod(stored.chunks) * 2 <= 70 * 2 * 128
            np.testing.assert_array_equal(stored[...], array)
            np.testing.assert_array_equal(backend.load("a"), array)

    def test_a_missing_chunk_is_an_error(self, backend: StorageBackend, tmp_path: Path) -> None:
        """zarr itself would give zeros."""
        backend.save("a", NOISE)
        (tmp_path / "root" / "a" / "c.1.0.0").unlink()
        with pytest.raises(PlaneReadError, match=r"c\.1\.0\.0 is missing"):
            backend.load("a")

    def test_a_changed_byte_is_an_error(self, backend: StorageBackend, tmp_path: Path) -> None:
        """Anywhere in a chunk; so is one that is cut off."""
        backend.save("a", NOISE)
        chunk = tmp_path / "root" / "a" / "c.2.0.0"
        content = chunk.read_bytes()
        for place in range(0, len(content), len(content) // 20):
            chunk.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(PlaneReadError, match="cut off or changed"):
                backend.load("a")
            chunk.write_bytes(content[:place])
            with pytest.raises(PlaneReadError):
                backend.load("a")

    def test_an_array_of_another_kind_is_refused(self, backend: StorageBackend, tmp_path: Path) -> None:
        """With what is wrong about its metadata."""
        for damaged in ("{", "[]", json.dumps({"shape": [1]})):
            backend.save("a", NOISE)
            (tmp_path / "root" / "a" / "zarr.json").write_text(damaged)
            with pytest.raises(PlaneReadError, match="'a'"):
                backend.load("a")
            shutil.rmtree(tmp_path / "root" / "a")
        zarr.create_array(str(tmp_path / "root" / "a"), shape=(4,), dtype="u1", compressors=zarr.codecs.GzipCodec())
        with pytest.raises(PlaneReadError, match="gzip"):
            backend.load("a")

    def test_an_unknown_compression_is_refused(self, tmp_path: Path) -> None:
        """The message lists the known ones."""
        with pytest.raises(OptionError, match=r"'gzip' is unknown \(choose from None, zstd, lz4\)"):
            ZarrBackend(tmp_path, compression="gzip")


class RemoteFilesContract(FilesContract):
    """What holds for disk and zarr behind a URL."""

    def test_it_does_not_promise_renames(self, backend: StorageBackend) -> None:
        """Object stores have none."""
        assert not backend.atomic_rename

    def test_a_failed_write_keeps_the_old_value(self, backend: StorageBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        """And the store's own error becomes a sentence with the place, and what to look at."""
        backend.save("a/b", np.ones((2, 2), np.uint8))

        def lost(*_: object, **__: object) -> None:
            raise ConnectionResetError("the connection was reset")

        with monkeypatch.context() as patch:
            patch.setattr(backend._store._files, "pipe_file", lost)  # type: ignore[attr-defined] # the failing network
            with pytest.raises(
                StorageError, match=r"://.*failed while writing 'a/b'.*connection was reset.*credentials"
            ):
                backend.save("a/b", np.zeros((2, 2), np.uint8))
        assert backend.load("a/b").sum() == 4 and backend.list() == ("a/b",)


class ZippedArraysContract(RemoteFilesContract):
    """What holds for zarr behind a URL."""

    def test_zarr_python_reads_the_zip_file(self, backend: StorageBackend, tmp_path: Path) -> None:
        """One object an array, which appears whole: object stores have no rename."""
        backend.save("B03/stack", NOISE)
        (tmp_path / "stack.zip").write_bytes(backend.load_bytes("B03/stack"))
        with zarr.storage.ZipStore(tmp_path / "stack.zip", mode="r") as store:
            np.testing.assert_array_equal(zarr.open_array(store, mode="r")[...], NOISE)

    def test_a_damaged_zip_file_is_an_error(self, backend: StorageBackend) -> None:
        """Cut off anywhere, or a byte changed in any chunk."""
        backend.save("a", NOISE)
        content = backend.load_bytes("a")
        for place in range(0, len(content), len(content) // 12):
            backend.save_bytes("a", content[:place])
            with pytest.raises(PlaneReadError, match="'a'"):
                backend.load("a")
        for place in range(100, int(len(content) * 0.9), len(content) // 7):
            backend.save_bytes("a", content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(PlaneReadError, match="'a'"):
                backend.load("a")


class TestDiskInFsspecMemory(RemoteFilesContract):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return DiskBackend(f"memory://{uuid.uuid4().hex}/plate")


class TestZarrInFsspecMemory(ZippedArraysContract):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return ZarrBackend(f"memory://{uuid.uuid4().hex}/plate")


class TestDiskInS3(RemoteFilesContract):
    @pytest.fixture
    def backend(self, bucket: str) -> StorageBackend:
        return DiskBackend(f"{bucket}/{uuid.uuid4().hex}/plate")


class TestZarrInS3(ZippedArraysContract):
    @pytest.fixture
    def backend(self, bucket: str) -> StorageBackend:
        return ZarrBackend(f"{bucket}/{uuid.uuid4().hex}/plate")


class Share(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A network drive: files show while they grow."""

    protocol = "share"


@pytest.fixture
def share() -> str:
    fsspec.register_implementation("share", Share, clobber=True)
    return f"share://{uuid.uuid4().hex}"


class TestDiskOnAShare(RemoteFilesContract):
    @pytest.fixture
    def backend(self, share: str) -> StorageBackend:
        return DiskBackend(share)


def test_on_a_share_files_are_moved_in(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a writer leaves that ends before the move is never listed and never under the key."""
    backend = DiskBackend(share)
    backend.save_bytes("a/b", b"old")

    def end(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Share, "mv", end)
        patch.setattr(Share, "rm_file", end)
        with pytest.raises(SystemExit):
            backend.save_bytes("a/b", b"new")
    files, folder = fsspec.core.url_to_fs(share)
    assert len(files.find(folder)) == 2
    assert backend.list() == ("a/b",) and backend.load_bytes("a/b") == b"old"


@pytest.mark.parametrize("make", [DiskBackend, ZarrBackend])
def test_a_bucket_that_does_not_exist_is_named(bucket: str, make: type[DiskBackend] | type[ZarrBackend]) -> None:
    """Saving makes no bucket, and loading finds nothing."""
    backend = make("s3://no-such-bucket/plate")
    with pytest.raises(StorageError, match="s3://no-such-bucket/plate"):
        backend.save("a", np.zeros((2, 2)))
    assert not fsspec.filesystem("s3").exists("no-such-bucket")


def test_an_unknown_protocol_is_named() -> None:
    """With what fsspec says about it."""
    with pytest.raises(StorageError, match="carrier://pigeon"):
        DiskBackend("carrier://pigeon").save("a", np.zeros((2, 2)))


@pytest.mark.parametrize("make", [DiskBackend, ZarrBackend])
def test_a_file_url_is_a_folder(tmp_path: Path, make: type[DiskBackend] | type[ZarrBackend]) -> None:
    """``file://`` and a path are the same place."""
    make(f"file://{tmp_path}/place").save("a", NOISE)
    np.testing.assert_array_equal(make(tmp_path / "place").load("a"), NOISE)


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_what_is_no_size_of_a_pixel_is_refused(size: float) -> None:
    """Files of a size of 0 or nan are no OME-TIFF, nor JSON."""
    with pytest.raises(StorageError, match="not the size of a pixel"):
        ImageInfo(pixel_size_um=size)
