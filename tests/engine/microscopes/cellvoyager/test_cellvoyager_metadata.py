"""CellVoyager metadata: damaged, hostile, unusual, and what they say of channels."""

from __future__ import annotations

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.model.plate import Channel
from tests.engine.cellvoyager_folders import HEAD, TAIL, key, name_of, only, read, record, write_image, write_records


@pytest.mark.parametrize("cut", [40, 150, 500])
def test_cut_records_are_refused_with_their_line(tmp_path: Path, cut: int) -> None:
    """A truncated mlf names the file and the line, wherever it was cut."""
    write_records(tmp_path, [record(key(site=site)) for site in (1, 2, 3)])
    os.truncate(tmp_path / "MeasurementData.mlf", (tmp_path / "MeasurementData.mlf").stat().st_size - cut)
    with pytest.raises(UnreadablePlateError, match=r"^MeasurementData\.mlf is cut off or damaged at line [3-5] "):
        read(tmp_path)


def test_an_empty_mlf_is_a_cut_one(tmp_path: Path) -> None:
    """Nothing left of the records is not the same as no records: names do not silently replace them."""
    (tmp_path / "MeasurementData.mlf").touch()
    write_image(tmp_path / name_of(key()))
    with pytest.raises(UnreadablePlateError, match=r"^MeasurementData\.mlf is cut off or damaged at line 1 "):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"Row": 33}, "line 3, gives row 33 and column 1"),
        ({"FieldIndex": "one"}, 'line 3, gives FieldIndex="one"'),
        ({"X": "nan"}, 'line 3, gives X="nan"'),
        ({"Ch": "9" * 30}, 'line 3, gives Ch="999'),
    ],
)
def test_impossible_values_name_their_line(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    """A record that cannot be true stops the plate with its place."""
    write_records(tmp_path, [record(key(), changes=change)])
    with pytest.raises(UnreadablePlateError) as caught:
        read(tmp_path)
    assert sentence in str(caught.value)
    assert caught.value.path == "MeasurementData.mlf"


@pytest.mark.parametrize("change", [{"Ch": None}, {"Row": None}])
def test_incomplete_records_are_left_out_with_a_warning(tmp_path: Path, change: dict[str, object]) -> None:
    """A record without a well or a channel can be no plane."""
    write_records(tmp_path, [record(key()), record(key(site=2), changes=change)])
    plate, index = read(tmp_path)
    assert only(index).key == key()
    assert "Records in MeasurementData.mlf without a well, a channel or a file were left out: line 4." in plate.warnings


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    """A computer set to German writes -567,1."""
    write_records(tmp_path, [record(key(), changes={"X": "-567,1"})])
    assert only(read(tmp_path)[1]).x_um == -567.1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_and_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    """A µ in a name survives, whatever the encoding that the file declares."""
    text = HEAD.replace("utf-8", encoding.removesuffix("-sig")) + record(key(), "10µm.tif") + TAIL
    (tmp_path / "records.mlf").write_bytes(text.encode(encoding))
    write_image(tmp_path / "10µm.tif")
    assert only(read(tmp_path)[1]).path == "10µm.tif"


@pytest.mark.parametrize(
    "hostile",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    ],
)
def test_entities_are_refused(tmp_path: Path, hostile: str) -> None:
    """Neither entity bombs nor external files are read; the file is named."""
    write_records(tmp_path, [record(key())])
    mlf = tmp_path / "MeasurementData.mlf"
    mlf.write_text(mlf.read_text().replace("<bts:MeasurementData", hostile + "<bts:MeasurementData", 1))
    with pytest.raises(UnreadablePlateError, match=r"MeasurementData\.mlf was not read: it declares a document type"):
        read(tmp_path)


def test_endless_values_are_refused(tmp_path: Path) -> None:
    """An attribute of megabytes ends the reading early."""
    write_records(tmp_path, [record(key(), changes={"Time": "x" * (3 << 20)})])
    with pytest.raises(UnreadablePlateError, match="a value of more than 1 MiB"):
        read(tmp_path)


DETAIL = (
    '<b:MeasurementDetail b:ColumnCount="24" b:RowCount="16" b:MeasurementSettingFileName="used.mes" xmlns:b="urn:bts">'
    '<b:MeasurementSamplePlate b:Name="Plate #1"/>'
    '<b:MeasurementChannel b:Ch="1" b:HorizontalPixelDimension="0.5" b:VerticalPixelDimension="0.5" '
    'b:HorizontalPixels="6" b:VerticalPixels="8"/></b:MeasurementDetail>'
)
SETTINGS = (
    '<b:MeasurementSetting xmlns:b="urn:bts"><b:WellSequence><b:TargetWell b:Column="1" b:Row="1">true</b:TargetWell>'
    '</b:WellSequence><b:Channel b:Ch="1" b:Target="{}" b:Acquisition="{}" b:Fluorophore="{}" b:Kind="{}"/>'
    "</b:MeasurementSetting>"
)


@pytest.mark.parametrize(
    ("said", "name", "wavelength"),
    [
        (("405", "BP445/45", "", "ConfocalFluorescence"), "405", 445.0),
        (("405", "BP445/45", "Hoechst", "Fluorescence"), "Hoechst", 445.0),
        (("488", "BP 525.5-50", "", ""), "488", 525.5),
        (("640", "LP650", "", "Fluorescence"), "640", None),
        (("", "", "", "Fluorescence"), None, None),
        (("Brightfield", "BP525/50", "", "Brightfield"), "Brightfield", None),
    ],
)
def test_channels_are_as_the_settings_state(
    tmp_path: Path, said: tuple[str, ...], name: str | None, wavelength: float | None
) -> None:
    """The dye or else the target is the name; only an emission band has a wavelength. The .mrf says which .mes."""
    write_records(tmp_path, [record(key())])
    (tmp_path / "MeasurementDetail.mrf").write_text(DETAIL)
    (tmp_path / "another.mes").write_text(SETTINGS.format("wrong", "BP999/1", "", ""))
    (tmp_path / "used.mes").write_text(SETTINGS.format(*said))
    plate, _ = read(tmp_path)
    assert plate.channels == (Channel(index=1, name=name, wavelength_nm=wavelength, shape=(8, 6)),)
    assert (plate.name, plate.rows, plate.columns, plate.pixel_size_um) == ("Plate #1", 16, 24, 0.5)


@pytest.mark.parametrize(
    "content", ["<cut", DETAIL.replace("MeasurementDetail", "Other"), "<!DOCTYPE x [<!ENTITY a 'b'>]>" + DETAIL]
)
def test_damaged_details_are_named_and_the_planes_are_read(tmp_path: Path, content: str) -> None:
    """Without a usable .mrf the pixel size is unknown, and nothing else is lost."""
    write_records(tmp_path, [record(key())])
    write_image(tmp_path / name_of(key()))
    (tmp_path / "MeasurementDetail.mrf").write_text(content)
    plate, index = read(tmp_path)
    assert (len(index.present()), plate.pixel_size_um, plate.shape) == (1, None, (8, 6))
    (warning,) = plate.warnings
    assert warning.startswith("MeasurementDetail.mrf was not used: ")


def test_images_of_another_shape_than_recorded_are_told(tmp_path: Path) -> None:
    """The file is right about its pixels, and the contradiction is a warning."""
    write_records(tmp_path, [record(key())])
    write_image(tmp_path / name_of(key()))
    (tmp_path / "MeasurementDetail.mrf").write_text(DETAIL.replace('b:VerticalPixels="8"', 'b:VerticalPixels="9"'))
    plate, _ = read(tmp_path)
    assert (plate.shape, plate.dtype) == ((8, 6), "uint16")
    assert plate.warnings == ("Channel 1 was recorded with 9 x 6 pixels, but its images have 8 x 6.",)


@pytest.mark.parametrize(
    ("suffix", "told"),
    [(".tif", "its pixels end beyond the end of the file"), (".png", "it does not end as a PNG does")],
)
def test_a_cut_image_is_named(tmp_path: Path, suffix: str, told: str) -> None:
    """The header of a cut file is used, and the cut is a warning."""
    path = tmp_path / name_of(key()).replace(".tif", suffix)
    write_image(path)
    if suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(np.zeros((8, 6), np.uint16)))
    os.truncate(path, path.stat().st_size - 4)
    write_records(tmp_path, [record(key())])
    plate, _ = read(tmp_path)
    assert (plate.shape, plate.dtype) == ((8, 6), "uint16")
    assert plate.warnings == (f"{path.name} is cut short: {told}.",)


def test_an_image_that_cannot_be_read_does_not_stop_the_plate(tmp_path: Path) -> None:
    """The next image of the channel gives the shape, and the damaged one is named."""
    write_records(tmp_path, [record(key()), record(key(site=2))])
    (tmp_path / name_of(key())).write_bytes(b"no image")
    write_image(tmp_path / name_of(key(site=2)))
    plate, index = read(tmp_path)
    assert (plate.shape, len(index.present())) == ((8, 6), 2)
    assert plate.warnings == (f"{name_of(key())} cannot be read: it is not a TIFF.",)
