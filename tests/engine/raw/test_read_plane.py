"""Reading raw planes, whole and damaged."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from openhcs_engine.errors import PlaneMismatchError, PlaneReadError
from openhcs_engine.raw.plane import read_header, read_plane

PLANE = (np.arange(64 * 48).reshape(64, 48) * 2654435761 % 65521).astype(np.uint16)


@dataclass(frozen=True)
class Kind:
    """One way of writing a plane."""

    name: str
    options: dict[str, object]
    dtype: str = "uint16"

    def __str__(self) -> str:
        return self.name


KINDS = (
    Kind("plain", {}),
    Kind("strips", {"rowsperstrip": 7}),
    Kind("big endian", {"byteorder": ">"}),
    Kind("big endian strips", {"byteorder": ">", "rowsperstrip": 5}),
    Kind("eight bits", {}, "uint8"),
    Kind("signed", {}, "int16"),
    Kind("float", {}, "float32"),
    Kind("double", {}, "float64"),
    Kind("tiles", {"tile": (32, 32)}),
    Kind("lzw", {"compression": "lzw"}),
    Kind("lzw predictor strips", {"compression": "lzw", "predictor": True, "rowsperstrip": 9}),
    Kind("deflate", {"compression": "zlib", "rowsperstrip": 16}),
    Kind("zstd", {"compression": "zstd"}),
    Kind("packbits", {"compression": "packbits"}, "uint8"),
    Kind("big tiff", {"bigtiff": True}),
    Kind("described", {"description": "x" * 9000}),
)


def write(folder: Path, kind: Kind) -> np.ndarray:
    plane = PLANE.astype(kind.dtype)
    tifffile.imwrite(folder / "plane.tif", plane, photometric="minisblack", metadata=None, **kind.options)
    return plane


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_tiff_comes_back_bit_for_bit(tmp_path: Path, kind: Kind) -> None:
    """With and without an array to fill, contiguous or not, in this machine's byte order."""
    plane = write(tmp_path, kind)
    stack = np.zeros((2, *plane.shape), plane.dtype)
    wide = np.zeros((plane.shape[0], 2 * plane.shape[1]), plane.dtype)

    alone = read_plane(tmp_path, "plane.tif")
    filled = read_plane(tmp_path, "plane.tif", out=stack[1])
    read_plane(tmp_path, "plane.tif", out=wide[:, ::2])

    assert alone.dtype == plane.dtype and alone.dtype.isnative
    np.testing.assert_array_equal(alone, plane)
    np.testing.assert_array_equal(stack[1], plane)
    np.testing.assert_array_equal(wide[:, ::2], plane)
    assert np.shares_memory(filled, stack) and not stack[0].any() and not wide[:, 1::2].any()
    assert read_header(tmp_path / "plane.tif") == ((64, 48), kind.dtype)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_cut_off_tiff_is_always_an_error(tmp_path: Path, kind: Kind) -> None:
    """Wherever it ends: an error that names the file, or, where only a tail without pixels is gone, the true pixels."""
    plane = write(tmp_path, kind)
    content = (tmp_path / "plane.tif").read_bytes()
    for size in range(0, len(content), 61):
        (tmp_path / "plane.tif").write_bytes(content[:size])
        try:
            read = read_plane(tmp_path, "plane.tif")
        except PlaneReadError as error:
            assert "plane.tif" in str(error)
        else:
            np.testing.assert_array_equal(read, plane)


def test_a_plain_tiff_without_its_last_byte_says_so(tmp_path: Path) -> None:
    """The sentence has the file, what was needed and what is there."""
    tifffile.imwrite(tmp_path / "a.tif", PLANE, metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-1])
    for read in (lambda: read_plane(tmp_path, "a.tif"), lambda: read_header(tmp_path / "a.tif")):
        with pytest.raises(PlaneReadError, match=rf"a\.tif is cut off: 48 x 64 pixels.*has {len(content) - 1}"):
            read()


def test_a_strip_without_bytes_is_an_error(tmp_path: Path) -> None:
    """A TIFF library would fill it with zeros."""
    tifffile.imwrite(tmp_path / "a.tif", PLANE, metadata=None, rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        counts = list(tiff.pages.first.databytecounts)
        tiff.pages.first.tags["StripByteCounts"].overwrite([*counts[:-1], 0])
    with pytest.raises(PlaneReadError, match="no pixels for a part"):
        read_plane(tmp_path, "a.tif")


def test_garbage_inside_a_compressed_tiff_is_an_error_or_changes_pixels_never_crashes(tmp_path: Path) -> None:
    """Decoders' own errors become ours."""
    tifffile.imwrite(tmp_path / "a.tif", PLANE, metadata=None, compression="lzw")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[-3000:-2000] = bytes(range(250)) * 4
    (tmp_path / "a.tif").write_bytes(content)
    try:
        assert read_plane(tmp_path, "a.tif").shape == PLANE.shape
    except PlaneReadError as error:
        assert "a.tif is damaged" in str(error)


def damaged_deflate(folder: Path) -> None:
    tifffile.imwrite(folder / "a.tif", PLANE, metadata=None, compression="zlib")
    content = bytearray((folder / "a.tif").read_bytes())
    content[-500:-400] = b"\xff" * 100
    (folder / "a.tif").write_bytes(content)


def test_a_damaged_deflate_tiff_is_an_error(tmp_path: Path) -> None:
    """Its checksum or its codes do not fit."""
    damaged_deflate(tmp_path)
    with pytest.raises(PlaneReadError, match=r"a\.tif is damaged and cannot be decoded"):
        read_plane(tmp_path, "a.tif")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"hello", "neither a TIFF nor a PNG"),
        (b"<html>" * 100, "neither a TIFF nor a PNG"),
        (b"II*\0", "damaged"),
        (b"II*\0\xff\xff\xff\x7f", "damaged"),
        (b"II*\0\x08\0\0\0" + b"\xff" * 40, "damaged|declares|header"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Reading and looking at the header fail alike."""
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(PlaneReadError, match=sentence):
        read_plane(tmp_path, "a.tif")
    with pytest.raises(PlaneReadError, match=sentence):
        read_header(tmp_path / "a.tif")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """As the index wrote it."""
    with pytest.raises(PlaneReadError, match=r"TimePoint_1/a\.tif cannot be opened: No such file"):
        read_plane(tmp_path, "TimePoint_1/a.tif")


def absurd_tiff(compression: int, edge: int = 100_000) -> bytes:
    tags = [
        (256, edge),
        (257, edge),
        (258, 16),
        (259, compression),
        (262, 1),
        (273, 150),
        (277, 1),
        (278, edge),
        (279, 50),
    ]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)).ljust(200, b"\1")


@pytest.mark.parametrize("compression", [1, 5, 8, 50000])
def test_a_header_that_claims_more_than_the_file_can_hold_is_refused(
    tmp_path: Path, compression: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty gigabytes in 200 bytes: refused before memory is asked for."""
    (tmp_path / "a.tif").write_bytes(absurd_tiff(compression))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_: pytest.fail("memory was asked for"))
    with pytest.raises(PlaneReadError, match=r"declares 100000 x 100000 pixels .* 200 bytes|cut off"):
        read_plane(tmp_path, "a.tif")


def test_colour_and_volumes_are_refused(tmp_path: Path) -> None:
    """A plane is one grey image."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    imagecodecs.imwrite(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    for name in ("a.tif", "a.png"):
        with pytest.raises(PlaneReadError, match="more than two dimensions"):
            read_plane(tmp_path, name)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}, {"metadata": None}], ids=str)
def test_a_stack_is_refused(tmp_path: Path, options: dict[str, object], compression: str | None) -> None:
    """One of several planes in a file is never taken for all of them."""
    stack = np.stack([PLANE, PLANE + 1])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", compression=compression, **options)

    for read in (lambda: read_plane(tmp_path, "stack.tif"), lambda: read_header(tmp_path / "stack.tif")):
        with pytest.raises(PlaneReadError, match=r"stack\.tif is a stack of several planes"):
            read()


def test_a_stack_in_one_page_is_refused(tmp_path: Path) -> None:
    """ImageJ writes large stacks so: the description alone counts the planes."""
    described = "ImageJ=1.53t\nimages=3\nslices=3\n"
    tifffile.imwrite(tmp_path / "stack.tif", PLANE, description=described, metadata=None)

    with pytest.raises(PlaneReadError, match="stack of several planes"):
        read_plane(tmp_path, "stack.tif")


@pytest.mark.parametrize("flag", [0, 1])
def test_previews_behind_a_plane_do_no_harm(tmp_path: Path, flag: int) -> None:
    """They are pages of the same plane, whether they say so or not."""
    with tifffile.TiffWriter(tmp_path / "plane.tif") as writer:
        writer.write(PLANE, metadata=None)
        writer.write(PLANE[::4, ::4], subfiletype=flag, metadata=None)

    assert np.array_equal(read_plane(tmp_path, "plane.tif"), PLANE)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_png_comes_back_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    """Eight and sixteen bits."""
    plane = PLANE.astype(dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(plane))
    out = np.empty_like(plane)
    np.testing.assert_array_equal(read_plane(tmp_path, "a.png", out=out), plane)
    assert read_header(tmp_path / "a.png") == ((64, 48), dtype)


def test_a_cut_off_png_is_an_error(tmp_path: Path) -> None:
    """Wherever it ends."""
    content = imagecodecs.png_encode(PLANE)
    for size in range(0, len(content), 101):
        (tmp_path / "a.png").write_bytes(content[:size])
        with pytest.raises(PlaneReadError, match=r"a\.png"):
            read_plane(tmp_path, "a.png")


def test_a_png_with_a_changed_byte_is_an_error(tmp_path: Path) -> None:
    """Its chunks have checksums."""
    content = bytearray(imagecodecs.png_encode(PLANE))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PlaneReadError, match=r"a\.png is damaged"):
        read_plane(tmp_path, "a.png")


@pytest.mark.parametrize("name", ["a.tif", "lzw.tif", "a.png"])
def test_a_plane_of_another_size_or_type_is_refused(tmp_path: Path, name: str) -> None:
    """The array that waits for it decides; the sentence has both."""
    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    tifffile.imwrite(tmp_path / "lzw.tif", PLANE, compression="lzw")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(PLANE))
    with pytest.raises(PlaneMismatchError, match=rf"{name} is 48 x 64 uint16.*10 x 10 uint16"):
        read_plane(tmp_path, name, out=np.zeros((10, 10), np.uint16))
    with pytest.raises(PlaneMismatchError, match="48 x 64 float32"):
        read_plane(tmp_path, name, out=np.zeros((64, 48), np.float32))


def test_real_pngs_are_read_as_the_facts_say(data_dir: Path) -> None:
    """Shape, dtype and sum of all pixels of a Yokogawa export."""
    facts = json.loads((data_dir / "facts.json").read_text())["cv7000_hipsc_png"]["tiles"]
    folder = data_dir / "cv7000_hipsc_png" / "data"
    read = {tile["path"]: read_plane(folder, tile["path"]) for tile in facts if (folder / tile["path"]).is_file()}
    assert read
    for tile in facts:
        if tile["path"] in read:
            plane = read[tile["path"]]
            found = ([*plane.shape], plane.dtype.name, int(plane.sum(dtype=np.uint64)))
            assert found == (tile["shape"], tile["dtype"], tile["sum"]), tile["path"]


def test_real_tiffs_are_read_as_tifffile_reads_them(data_dir: Path) -> None:
    """Every TIFF of the plate exports: the same pixels and header; colour is refused."""
    files = sorted(path for path in data_dir.rglob("*") if path.suffix.lower() in {".tif", ".tiff"})
    grey = 0
    for path in files:
        with tifffile.TiffFile(path) as tiff:
            expected = tiff.pages.first.asarray()
        if expected.ndim == 2:
            grey += 1
            np.testing.assert_array_equal(read_plane(path.parent, path.name), expected)
            assert read_header(path) == (expected.shape, expected.dtype.name)
        else:
            with pytest.raises(PlaneReadError, match="more than two dimensions"):
                read_plane(path.parent, path.name)
    assert grey > 100
