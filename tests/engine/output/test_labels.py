"""Labels: numbers of objects beside the image in which they were found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_engine.errors import PixelValueError, PlaneMismatchError, StorageError
from openhcs_engine.files.atomic import file_checksum
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.metadata import PixelScale
from openhcs_engine.ngff.options import ImageOptions
from openhcs_engine.ngff.reading.reader import FieldReader, WellReader
from openhcs_engine.ngff.writing.plate_store import WellWriter, WrittenWell

SHAPE = (520, 600)
VERSIONS = pytest.mark.parametrize("ngff", ["0.5", "0.4"])


def writer_with_image(folder: Path, ngff: str = "0.5", z_indexes: tuple[int | None, ...] = (1, 2)) -> WellWriter:
    writer = WellWriter(folder, "A01", (1,), ImageOptions(ngff=ngff))
    for channel in (1, 2):
        for z in z_indexes:
            writer.write(ImageKey("A01", 1, channel, z, 1), np.ones(SHAPE, np.uint16))
    return writer


def read(folder: Path, writer: WellWriter) -> tuple[FieldReader, WrittenWell]:
    written = writer.finish({}, PixelScale(pixel_size_um=0.5, z_step_um=2.0))
    return WellReader(folder, "A01", read_attributes(folder))[1], written


def many_objects() -> NDArray[np.uint32]:
    """More objects than 16 bits can number, of two pixels each side by side, and empty columns between them."""
    ids = np.zeros(SHAPE, np.uint32)
    ids[:, ::2] = np.arange(1, SHAPE[0] * SHAPE[1] // 2 + 1).reshape(SHAPE[0], -1)
    return ids


@VERSIONS
def test_more_than_65535_objects_keep_their_numbers(tmp_path: Path, ngff: str) -> None:
    """At full size all of them; smaller levels have some of them, and no number that was not there before."""
    writer, ids = writer_with_image(tmp_path, ngff), many_objects()
    writer.write_label("cells", ImageKey("A01", 1, 2, 1, 1), ids)

    field, _ = read(tmp_path, writer)

    label = field.label("cells")
    assert (field.labels, label.name, label.levels, label.axes.channel) == (("cells",), "cells", field.levels, 2)
    np.testing.assert_array_equal(label.plane(z_index=1), ids)
    assert label.array().dtype == np.uint32 and int(ids.max()) > 65_535
    for level in range(1, label.levels):
        smaller = label.array(level)[0, 0]
        assert smaller.shape == field.array(level).shape[-2:]
        np.testing.assert_array_equal(smaller, ids[:: 2**level, :: 2**level][: smaller.shape[0], : smaller.shape[1]])


@VERSIONS
def test_the_documents_say_what_the_label_is(tmp_path: Path, ngff: str) -> None:
    """Its name in the list, its source, its axes without channels, and the image's scale."""
    writer = writer_with_image(tmp_path, ngff)
    for name in ("nuclei", "cells"):
        writer.write_label(name, ImageKey("A01", 1, 1, 1, 1), np.ones(SHAPE, np.uint8))

    field, _ = read(tmp_path, writer)

    assert field.labels == ("nuclei", "cells")
    told = read_attributes(tmp_path / "0/labels/cells")["ome"]
    assert told["image-label"] == {"version": ngff, "source": {"image": "../../"}}
    assert [axis["name"] for axis in told["multiscales"][0]["axes"]] == ["t", "z", "y", "x"]
    scales = [dataset["coordinateTransformations"][0]["scale"] for dataset in told["multiscales"][0]["datasets"]]
    assert scales == [[1.0, 2.0, 0.5 * step, 0.5 * step] for step in (1, 2, 4)]


def test_files_of_labels_are_the_wells(tmp_path: Path) -> None:
    """With sizes and checksums, as all others."""
    writer = writer_with_image(tmp_path)
    writer.write_label("nuclei", ImageKey("A01", 1, 1, 1, 1), np.ones(SHAPE, np.uint8))
    _, written = read(tmp_path, writer)
    assert {file.path for file in written.files} == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    for file in written.files:
        assert file.crc32c == file_checksum(tmp_path / file.path)


def test_planes_without_a_label_are_missing(tmp_path: Path) -> None:
    """Told with the label's name, None for a plane, masked in an array."""
    writer = writer_with_image(tmp_path)
    writer.write_label("nuclei", ImageKey("A01", 1, 1, 2, 1), np.ones(SHAPE, bool))
    field, written = read(tmp_path, writer)
    label = field.label("nuclei")
    assert written.absent_labels == (("nuclei", ImageKey("A01", 1, 1, 1, 1)),) and written.absent == ()
    assert label.absent == {(1, 1)} and label.plane(z_index=1) is None
    np.testing.assert_array_equal(np.ma.getmaskarray(label.array()[0, :, 0, 0]), [True, False])


def test_a_label_of_a_projection_has_one_plane(tmp_path: Path) -> None:
    """Beside an image with two: its own z axis, without a distance of planes."""
    writer = writer_with_image(tmp_path)
    writer.write_label("nuclei", ImageKey("A01", 1, None, None, 1), np.ones(SHAPE, np.int64))
    field, written = read(tmp_path, writer)
    assert field.label("nuclei").array().shape == (1, 1, *SHAPE) and written.absent_labels == ()
    own = json.loads((tmp_path / "0/labels/nuclei/zarr.json").read_text())["attributes"]["openhcs"]
    assert (own["z_index"], own["z_step_um"], own["found_in_channel"]) == ([None], None, None)


def test_a_field_without_labels_has_none(tmp_path: Path) -> None:
    """And a name that is not there is refused with those that are."""
    field, _ = read(tmp_path, writer_with_image(tmp_path))
    assert field.labels == ()
    with pytest.raises(KeyError, match=r"site 1 has no label 'cells' \(has: none\)"):
        field.label("cells")


@pytest.mark.parametrize(
    ("plane", "error", "sentence"),
    [
        (np.full(SHAPE, -1), PixelValueError, r"Well A01.*label 'nuclei': objects have the numbers -1 to -1"),
        (np.full(SHAPE, 2**32), PixelValueError, "counted from 1 to 4294967295"),
        (np.ones(SHAPE), PlaneMismatchError, "of whole numbers or booleans"),
        (np.ones((1, *SHAPE), np.uint8), PlaneMismatchError, "cannot be stored"),
    ],
)
def test_what_is_no_label_is_refused(
    tmp_path: Path, plane: NDArray[np.generic], error: type[Exception], sentence: str
) -> None:
    """With the well, the label's name and what was expected."""
    with pytest.raises(error, match=sentence):
        writer_with_image(tmp_path).write_label("nuclei", ImageKey("A01", 1, 1, 1, 1), plane)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "ü"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Names become folders and paths in documents."""
    with pytest.raises(StorageError, match="cannot be the name of a label"):
        writer_with_image(tmp_path).write_label(name, ImageKey("A01", 1, 1, 1, 1), np.ones(SHAPE, np.uint8))


def test_a_label_of_two_channels_is_refused(tmp_path: Path) -> None:
    """It has no channel axis; the second would take the place of the first."""
    writer, plane = writer_with_image(tmp_path), np.ones(SHAPE, np.uint8)
    writer.write_label("nuclei", ImageKey("A01", 1, 1, 1, 1), plane)
    with pytest.raises(StorageError, match="give the objects of each channel a name of their own"):
        writer.write_label("nuclei", ImageKey("A01", 1, 2, 1, 1), plane)
    with pytest.raises(StorageError, match="written twice"):
        writer.write_label("nuclei", ImageKey("A01", 1, 1, 1, 1), plane)


def test_a_label_lies_on_its_image_pixel_by_pixel(tmp_path: Path) -> None:
    """Another size is refused at the end, when both are known; so is a field without an image."""
    writer = writer_with_image(tmp_path / "a")
    writer.write_label("nuclei", ImageKey("A01", 1, 1, 1, 1), np.ones((8, 8), np.uint8))
    with pytest.raises(PlaneMismatchError, match=r"\(8, 8\) pixels, but those of the image \(520, 600\)"):
        writer.finish({}, PixelScale())
    alone = writer_with_image(tmp_path / "b")
    alone.write_label("nuclei", ImageKey("A01", 2, 1, 1, 1), np.ones(SHAPE, np.uint8))
    with pytest.raises(StorageError, match=r"site 2.*its field has no image"):
        alone.finish({}, PixelScale())
