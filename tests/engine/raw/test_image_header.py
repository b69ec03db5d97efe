"""The bounded reader of headers, and the MetaSeries XML in it."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.microscopes.imagexpress.metaseries import parse_metaseries
from openhcs_engine.raw.image_header import ImageHeader, ImageHeaderError, read_plain_page, read_tiff_header
from openhcs_engine.raw.plane import read_plane


def header(content: bytes) -> ImageHeader:
    """The header of a TIFF in memory."""
    return read_tiff_header(io.BytesIO(content), len(content))


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """A TIFF as tifffile writes it."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)  # type: ignore[arg-type]  # options of one library
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_headers_agree_with_tifffile(dtype: str, bigtiff: bool, byteorder: str) -> None:
    """Shape, dtype and description are read from classic and Big TIFF in both byte orders."""
    content = tiff(np.zeros((5, 7), dtype), bigtiff=bigtiff, byteorder=byteorder, description="hello", rowsperstrip=2)
    read = header(content)
    assert (read.form.shape, read.form.dtype, read.description) == ((5, 7), dtype, "hello")
    assert not read.cut


def test_real_headers_agree_with_tifffile(data_dir: Path) -> None:
    """On planes of real instruments the result is tifffile's."""
    paths = sorted(path for path in data_dir.rglob("*") if path.suffix.lower() in {".tif", ".tiff"})[::9]
    assert paths
    for path in paths:
        with path.open("rb") as stream:
            read = read_tiff_header(stream, path.stat().st_size)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            assert (read.form.shape, read.form.dtype) == (page.shape, page.dtype.name)
            assert read.description.strip() == page.description.strip()


def test_a_cut_file_shows_by_its_end() -> None:
    """Where the pixels were cut off, their promised end lies beyond the file."""
    content = tiff(np.zeros((64, 64), np.uint16))
    assert not header(content).cut
    assert (
        header(content[:-1]).cut
        == header(content[: len(content) // 2]).cut
        == "its pixels end beyond the end of the file"
    )


def classic(*tags: tuple[int, int, int, int], count: int | None = None) -> bytes:
    """A hand-made little-endian TIFF of (code, type, count, value) tags."""
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) if count is None else count) + table + b"\0" * 64


SIZE = ((256, 4, 1, 8), (257, 4, 1, 8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n0000", "it is not a TIFF"),
        (b"II*\0\xff\xff\xff\xff", "its header lies beyond the end"),
        (classic(count=65535), "its first page claims 65535 tags"),
        (classic((256, 4, 1, 4_000_000_000), (257, 4, 1, 4_000_000_000)), "it claims 4000000000 x 4000000000 pixels"),
        (classic(*SIZE, (258, 3, 1, 16), (270, 2, 4_000_000_000, 8)), "its description claims 4000000000 bytes"),
        (classic(*SIZE, (258, 3, 1, 16), (273, 4, 4_000_000_000, 8)), "its tag 273 claims 4000000000 values"),
        (classic(*SIZE, (258, 3, 1, 16)), "it does not say where its pixels are"),
        (classic((256, 4, 1, 8)), "its tag 257 is missing"),
        (tiff(np.zeros((4, 4, 3), np.uint8), photometric="rgb"), "it has 3 samples of 8 bits"),
    ],
)
def test_absurd_headers_are_refused_before_anything_is_read(content: bytes, reason: str) -> None:
    """A header that cannot be true is refused by its own claim."""
    with pytest.raises(ImageHeaderError, match=reason):
        header(content)


@given(damage=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), max_size=8), cut=st.integers(0, 600))
def test_damage_gives_a_header_or_a_reason(damage: list[tuple[int, int]], cut: int) -> None:
    """Whatever bytes are wrong, the only error is ImageHeaderError."""
    content = bytearray(_SOUND)
    for position, value in damage:
        content[position] = value
    with contextlib.suppress(ImageHeaderError):
        header(bytes(content[:cut] if cut < len(content) else content))


_SOUND = tiff(np.zeros((8, 8), np.uint16), description="x" * 40)


def described(**properties: str) -> str:
    """MetaSeries XML of some properties."""
    lines = "".join(f'<prop id="{name}" value="{value}"/>' for name, value in properties.items())
    return f"<MetaData><PlaneInfo>{lines}</PlaneInfo></MetaData>"


@pytest.mark.parametrize(
    ("state", "units", "pixel_size"),
    [("on", "um", 0.65), ("on", "µm", 0.65), ("off", "um", None), ("on", "pixel", None), ("", "um", None)],
)
def test_pixel_size_needs_a_calibration_in_micrometres(state: str, units: str, pixel_size: float | None) -> None:
    """An uncalibrated image has no pixel size, whatever number stands there."""
    read = parse_metaseries(
        described(
            **{
                "spatial-calibration-state": state,
                "spatial-calibration-units": units,
                "spatial-calibration-x": "0.65",
            }
        )
    )
    assert read is not None
    assert read.pixel_size_um == pixel_size


def test_a_projection_has_no_z_step() -> None:
    """The projection method decides, even beside a Z Step."""
    read = parse_metaseries(described(**{"Z Step": "1", "Z Projection Method": "Maximum"}))
    assert read is not None
    assert (read.z_step, read.projection) == (None, "Maximum")


def test_other_descriptions_are_not_metaseries() -> None:
    """OME-XML and ImageJ text are someone else's."""
    assert parse_metaseries("ImageJ=1.11a") is None
    assert parse_metaseries("<OME/>") is None


@pytest.mark.parametrize("text", ["<MetaData>", "<!DOCTYPE a><MetaData/>", "<MetaData><a></MetaData>"])
def test_damaged_xml_is_a_value_error_or_not_ours(text: str) -> None:
    """Broken XML says so; a document type is never processed."""
    if text.startswith("<MetaData"):
        with pytest.raises(ValueError, match="its MetaSeries XML cannot be read"):
            parse_metaseries(text)
    else:
        assert parse_metaseries(text) is None


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True}, {"ome": True}, {"bigtiff": True}, {"byteorder": ">"}], ids=str
)
def test_stacks_are_told_from_planes(options: dict[str, object]) -> None:
    """Further pages show without a second look at the file; a single page never counts as a stack."""
    for planes in (1, 2, 5):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.zeros((planes, 8, 9), np.uint16), photometric="minisblack", **options)
        read = header(stream.getvalue())
        assert read.form.is_stack == (planes > 1)
        assert len(read.oddities("a.tif")) == (planes > 1)


@pytest.mark.parametrize(("edge", "flag"), [(4, 0), (4, 1), (16, 1)])
def test_a_preview_makes_no_stack(edge: int, flag: int) -> None:
    """Pages of another size, and those that say that they are reduced, belong to the first."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(np.zeros((16, 16), np.uint16), metadata=None)
        writer.write(np.zeros((edge, edge), np.uint16), subfiletype=flag, metadata=None)

    assert not header(stream.getvalue()).form.is_stack


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_plain_pixels_are_where_the_header_says(bigtiff: bool, byteorder: str) -> None:
    """An uncompressed page of any TIFF is read from its first pixel on; a compressed or tiled one is no such run."""
    pixels = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    content = tiff(pixels, bigtiff=bigtiff, byteorder=byteorder, rowsperstrip=3)
    page = read_plain_page(io.BytesIO(content), len(content))
    assert page is not None
    run = np.frombuffer(content, page.dtype, count=pixels.size, offset=page.offset)
    np.testing.assert_array_equal(run.reshape(page.shape), pixels)
    for options in ({"compression": "zlib"}, {"tile": (16, 16)}):
        other = tiff(pixels, bigtiff=bigtiff, byteorder=byteorder, **options)
        assert read_plain_page(io.BytesIO(other), len(other)) is None


_STACK = np.zeros((2, 8, 9), np.uint16)


@pytest.mark.parametrize(
    ("pixels", "options", "is_stack"),
    [
        (_STACK, {}, True),
        (_STACK, {"compression": "zlib"}, True),
        (_STACK[0], {"description": "ImageJ=1.53t\nimages=3\nslices=3\n"}, True),
        (_STACK[0], {"description": "ImageJ=1.53t\nimages=1\n", "compression": "zlib"}, False),
        (_STACK[0], {"extratags": [(33629, "2I", 2, (1, 1, 1, 1), True)], "compression": "zlib"}, True),
        (_STACK[0], {"extratags": [(33629, "2I", 1, (1, 1), True)]}, False),
        (_STACK[0], {"description": "images=3\n"}, False),
    ],
)
def test_inspection_and_reading_judge_stacks_alike(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, object], is_stack: bool
) -> None:
    """What inspection calls a stack is refused when it is read, whoever wrote it; nothing else is."""
    content = tiff(pixels, photometric="minisblack", **options)
    (tmp_path / "a.tif").write_bytes(content)

    assert header(content).form.is_stack == is_stack
    if is_stack:
        with pytest.raises(PlaneReadError, match="stack of several planes"):
            read_plane(tmp_path, "a.tif")
    else:
        np.testing.assert_array_equal(read_plane(tmp_path, "a.tif"), pixels)


def test_a_damaged_page_behind_the_first_is_refused_by_both(tmp_path: Path) -> None:
    """It might have been another plane."""
    content = bytearray(tiff(_STACK, photometric="minisblack"))
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    link = first + 2 + 12 * tags
    struct.pack_into("<H", content, struct.unpack_from("<I", content, link)[0], 0xFFFF)
    (tmp_path / "a.tif").write_bytes(content)

    with pytest.raises(ImageHeaderError, match="its next page claims 65535 tags"):
        header(bytes(content))
    with pytest.raises(PlaneReadError, match="its next page claims 65535 tags"):
        read_plane(tmp_path, "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("is_beyond", [True, False])
def test_a_link_to_no_page_is_the_end(tmp_path: Path, options: dict[str, object], is_beyond: bool) -> None:
    """Some writers leave a link behind the last page, to beyond the file or to zeros: the first plane is read."""
    content = bytearray(tiff(_STACK[0], photometric="minisblack", **options))
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, len(content) + 100 * is_beyond)
    content += bytes(8)
    (tmp_path / "a.tif").write_bytes(content)

    assert not header(bytes(content)).form.is_stack
    np.testing.assert_array_equal(read_plane(tmp_path, "a.tif"), _STACK[0])


def test_pages_that_lead_in_a_circle_end() -> None:
    """A page that is its own next page is one plane."""
    content = bytearray(tiff(np.zeros((8, 8), np.uint16)))
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, first)

    assert header(bytes(content)).form.is_stack
