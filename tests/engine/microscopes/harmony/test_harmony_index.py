"""Harmony's index: every version, unit and place of it, and hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_engine.errors import NotAPlateError, SeveralPlatesError, UnreadablePlateError
from openhcs_engine.model.plate import Grid
from tests.engine.harmony_exports import CHANNEL, V4, V5, V6, V7, image_name, index_text, read, record, write_export

# Versions of the index.


@pytest.mark.parametrize("namespace", [V4, V5, "", "http://www.revvity.com/HarmonyV9"])
def test_channels_are_read_from_each_image(tmp_path: Path, namespace: str) -> None:
    """V4 and V5 repeat the channel in every Image; the namespace does not matter."""
    records = [record(field=field) | CHANNEL for field in (1, 2)]
    write_export(tmp_path, index_text(records, namespace=namespace), [image_name(), image_name(field=2)])
    plate, index = read(tmp_path)
    (channel,) = plate.channels
    assert (channel.name, channel.wavelength_nm, channel.shape, channel.dtype) == ("DAPI", 456, (8, 12), "uint16")
    assert (plate.pixel_size_um, plate.name, plate.rows, plate.columns) == (0.65, "My plate", 8, 12)
    assert (len(index.present()), plate.warnings) == (2, ())


@pytest.mark.parametrize("namespace", [V6, V7])
def test_channels_are_read_from_the_maps(tmp_path: Path, namespace: str) -> None:
    """V6 and V7 describe channels once, beside flat-field profiles that are no JSON; images only bear the number."""
    entries = {1: CHANNEL, 2: CHANNEL | {"ChannelName": "GFP", "MainEmissionWavelength": "0"}}
    records = [record(channel=channel, timepoint=1) for channel in (1, 2)]
    text = index_text(records, namespace=namespace, entries=entries)
    write_export(tmp_path, text, [image_name(timepoint=1, channel=channel) for channel in (1, 2)])
    plate, index = read(tmp_path)
    assert [(channel.name, channel.wavelength_nm) for channel in plate.channels] == [("DAPI", 456), ("GFP", None)]
    assert (plate.pixel_size_um, plate.shape, plate.timepoints) == (0.65, (8, 12), (1,))
    assert len(index.present()) == 2


def test_a_prefixed_namespace_reads_alike(tmp_path: Path) -> None:
    """Elements are known by their local names."""
    write_export(tmp_path, index_text([record() | CHANNEL], prefix="ns"), [image_name()])
    plate, index = read(tmp_path)
    assert (plate.name, plate.channels[0].name, len(index.present())) == ("My plate", "DAPI", 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_encoding_and_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    """A byte order mark or none, UTF-8 or UTF-16: names keep their letters."""
    text = index_text([record(ChannelName="µ-Opioid")]).replace('"utf-8"', f'"{encoding.removesuffix("-sig")}"')
    write_export(tmp_path, text.encode(encoding), [image_name()])
    plate, _ = read(tmp_path)
    assert plate.channels[0].name == "µ-Opioid"


@pytest.mark.parametrize(
    "name",
    [
        "Index.xml",
        "index.idx.xml",
        "Images/Index.xml",
        "Images/INDEX.XML",
        "index/0f8fad5b-d9cb-469f-a165-70867728950e.xml",
    ],
)
def test_the_index_may_lie_beside_the_images_or_above(tmp_path: Path, name: str) -> None:
    """In the plate folder, in Images, or in an archive's folder of its own; images are found in Images."""
    write_export(tmp_path, index_text([record(), record(field=2)]), [image_name()], index_name=name)
    plate, index = read(tmp_path)
    assert [(plane.path, plane.present) for plane in index] == [
        (f"Images/{image_name()}", True),
        (f"Images/{image_name(field=2)}", False),
    ]
    assert plate.warnings == ()


def test_an_archive_with_a_folder_for_each_well(tmp_path: Path) -> None:
    """Archives of Harmony 7 keep each well in a folder; URLs leave that folder out."""
    name = "r01c02f01p01-ch1t01.tiff"
    text = index_text([record(column=2, URL=name)], namespace=V7)
    write_export(tmp_path, text, [name], place="images/r01c02", index_name="index/index.xml")
    _, index = read(tmp_path)
    assert [(plane.key.well, plane.path) for plane in index.present()] == [("A02", f"images/r01c02/{name}")]


def test_the_images_folder_itself_is_a_plate(tmp_path: Path) -> None:
    """Who gives the folder ``Images`` gets its plate, with paths from there."""
    write_export(tmp_path / "export", index_text([record()]), [image_name()])
    _, index = read(tmp_path / "export" / "Images")
    assert [(plane.path, plane.present) for plane in index] == [(image_name(), True)]


def test_two_measurements_are_two_plates(tmp_path: Path) -> None:
    """A folder of exports is no plate; the error lists them."""
    for number in (1, 2):
        write_export(tmp_path / f"P__Measurement {number}", index_text([record()]), [image_name()])
    with pytest.raises(SeveralPlatesError, match="P__Measurement 1, P__Measurement 2"):
        read(tmp_path)


def test_other_xml_is_no_index(tmp_path: Path) -> None:
    """A file called Index.xml of another program makes no plate."""
    (tmp_path / "Index.xml").write_text("<html/>")
    with pytest.raises(NotAPlateError):
        read(tmp_path)


def test_of_two_indexes_the_one_beside_the_images_is_read(tmp_path: Path) -> None:
    """The other is named, and a damaged one does not stop the plate."""
    write_export(tmp_path, index_text([record()]), [image_name()])
    (tmp_path / "Index.xml").write_text(index_text([record(), record(field=2)]))
    assert read(tmp_path)[0].warnings == ("Images/Index.idx.xml was read; other index files were not: Index.xml.",)
    (tmp_path / "Images/Index.idx.xml").write_text(index_text([record()])[:-100])
    plate, index = read(tmp_path)
    assert len(index) == 2
    assert plate.warnings[0].startswith("Images/Index.idx.xml cannot be read as Harmony's index: unclosed token")


# Wells, positions, numbers.


@pytest.mark.parametrize(
    ("row", "column", "well"), [(1, 1, "A01"), (3, 3, "C03"), (26, 9, "Z09"), (27, 1, "AA01"), (32, 48, "AF48")]
)
def test_wells_have_one_name(tmp_path: Path, row: int, column: int, well: str) -> None:
    """Rows and columns by number become the names that every format uses, up to 1536 wells."""
    write_export(tmp_path, index_text([record(row, column)]), [image_name(row, column)])
    plate, index = read(tmp_path)
    assert (plate.wells, [plane.key.well for plane in index]) == ((well,), [well])


@pytest.mark.parametrize("first", [0, 1, 5])
def test_time_points_are_numbered_as_the_index_does(tmp_path: Path, first: int) -> None:
    """TimepointIDs are kept, from 0 as in V5 or from 1."""
    write_export(tmp_path, index_text([record(timepoint=first + n, URL=f"{n}.tiff") for n in range(3)]))
    plate, _ = read(tmp_path)
    assert plate.timepoints == (first, first + 1, first + 2)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("-0.000645814", "m", -645.814),
        ("-0.645814", "mm", -645.814),
        ("-645.814", "µm", -645.814),
        ("-645.814", "um", -645.814),
        ("-645814", "nm", -645.814),
        ("1", "parsec", None),
        ("NaN", "m", None),
        ("1E999999999", "m", None),
        ("", "m", None),
        ("near", "m", None),
    ],
)
def test_positions_are_micrometres_whatever_the_unit(
    tmp_path: Path, value: str, unit: str, expected: float | None
) -> None:
    """The Unit attribute is obeyed; what is no number or no length is unknown, not 0."""
    elements = {f"Position{axis}|{unit}": value for axis in "XYZ"}
    write_export(tmp_path, index_text([record() | elements]), [image_name()])
    plate, (plane,) = read(tmp_path)
    assert (plane.x_um, plane.y_um, plane.z_um) == (expected, expected, expected)
    assert (plate.stage_frame is None) == (expected is None)


def test_without_a_unit_positions_are_metres(tmp_path: Path) -> None:
    """Harmony's own unit is the metre."""
    text = index_text([record(PositionX="2E-05")]).replace(' Unit="m"', "")
    write_export(tmp_path, text, [image_name()])
    (plane,) = read(tmp_path)[1]
    assert plane.x_um == 20.0


def test_channels_keep_their_own_heights(tmp_path: Path) -> None:
    """Each channel has its own heights at the same plane numbers; the distance of planes is the plate's z step."""
    heights = {1: ("-5E-06", "-3.5E-06", "-2E-06"), 2: ("0", "1.5E-06", "3E-06")}
    records = [
        record(channel=channel, plane=plane, PositionZ=z, AbsPositionZ="0.13")
        for channel, column in heights.items()
        for plane, z in enumerate(column, 1)
    ]
    write_export(tmp_path, index_text(records))
    plate, index = read(tmp_path)
    assert [(plane.key.channel, plane.z_um) for plane in index] == [
        (1, -5.0), (1, -3.5), (1, -2.0), (2, 0.0), (2, 1.5), (2, 3.0),
    ]  # fmt: skip
    assert plate.z_step_um == 1.5


def test_only_an_absolute_height_is_used_where_no_other_is_given(tmp_path: Path) -> None:
    """Old exports give AbsPositionZ alone; the two are never mixed on one plate."""
    write_export(tmp_path, index_text([record(AbsPositionZ="0.1375"), record(plane=2, AbsPositionZ="0.137502")]))
    assert [plane.z_um for plane in read(tmp_path)[1]] == [137500.0, 137502.0]
    mixed = index_text([record(AbsPositionZ="0.1375"), record(plane=2, PositionZ="2E-06")])
    write_export(tmp_path, mixed)
    assert [plane.z_um for plane in read(tmp_path)[1]] == [None, 2.0]


def test_uneven_heights_have_no_z_step(tmp_path: Path) -> None:
    """Planes that are not evenly spaced have no single distance."""
    heights = {1: "0", 2: "1E-06", 3: "5E-06"}
    write_export(tmp_path, index_text([record(plane=plane, PositionZ=z) for plane, z in heights.items()]))
    assert read(tmp_path)[0].z_step_um is None


@pytest.mark.parametrize(
    ("places", "grid"),
    [
        ([(0, 0)], Grid(rows=1, columns=1)),
        ([(0, 0), (-300, 300), (0, 300), (300, 300), (-300, 0), (300, 0)], Grid(rows=2, columns=3)),
        ([(0, 0.0004), (300, -0.0004), (0, 300.0), (300, 300.0003)], Grid(rows=2, columns=2)),
        ([(0, 0), (300, 0), (0, 300)], None),
        ([(0, 0), (0, 0)], None),
        ([(0, 0), (300, 200)], None),
    ],
)
def test_the_grid_is_that_of_the_positions(
    tmp_path: Path, places: list[tuple[float, float]], grid: Grid | None
) -> None:
    """Positions that fill a rectangle are a grid, in whatever order fields are numbered; others have none."""
    records = [record(field=n) | {"PositionX|um": str(x), "PositionY|um": str(y)} for n, (x, y) in enumerate(places, 1)]
    write_export(tmp_path, index_text(records))
    assert read(tmp_path)[0].grid == grid


def test_what_the_index_does_not_give_is_unknown(tmp_path: Path) -> None:
    """No positions, channel description or plate: all of them are None, not invented."""
    write_export(tmp_path / "folder", index_text([record()], plate=""), [image_name()])
    plate, (plane,) = read(tmp_path / "folder")
    assert (plate.name, plate.rows, plate.columns, plate.grid, plate.stage_frame) == ("folder", None, None, None, None)
    assert (plate.pixel_size_um, plate.z_step_um) == (None, None)
    assert (plate.channels[0].name, plate.channels[0].wavelength_nm) == (None, None)
    assert (plane.x_um, plane.y_um, plane.z_um) == (None, None, None)
    assert plate.shape == (8, 12)


def test_a_channel_that_is_described_in_several_ways_is_a_warning(tmp_path: Path) -> None:
    """The most frequent description is used."""
    odd = CHANNEL | {"ChannelName": "Hoechst"}
    records = [record(field=n) | (odd if n == 2 else CHANNEL) for n in (1, 2, 3)]
    write_export(tmp_path, index_text(records), [image_name()])
    plate, _ = read(tmp_path)
    assert plate.channels[0].name == "DAPI"
    assert plate.warnings == (
        "The index describes channel 1 in several ways (name, pixel size, image size or wavelength); the most frequent "
        "values are used.",
    )


def test_pixel_sizes_that_differ_are_a_warning(tmp_path: Path) -> None:
    """Channels with another binning have other pixels; and pixels that are not square are told."""
    records = [
        record() | CHANNEL,
        record(channel=2) | CHANNEL,
        record(channel=3) | CHANNEL | {"ImageResolutionX": "1.3E-06"},
    ]
    write_export(tmp_path, index_text(records))
    plate, _ = read(tmp_path)
    assert plate.pixel_size_um == 0.65
    assert plate.warnings[1:] == (
        "The channels have different pixel sizes (0.65, 1.3 µm); the most frequent is used.",
        "Pixels are not square: 1.3 x 0.65 µm; their width is used as pixel size.",
    )


def test_the_images_are_believed_where_the_index_gives_another_shape(tmp_path: Path) -> None:
    """One header of each channel is read; if it contradicts the index, the sentence says so."""
    write_export(tmp_path, index_text([record() | CHANNEL | {"ImageSizeX": "1080"}]), [image_name()])
    plate, _ = read(tmp_path)
    assert plate.shape == (8, 12)
    assert plate.warnings == (
        "The index gives 8 x 1080 pixels for channel 1, its images have 8 x 12; the images are right.",
    )


# Hostile indexes.


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        "<!DOCTYPE x>",
    ],
)
def test_document_types_and_entities_are_refused(tmp_path: Path, head: str) -> None:
    """Entity bombs and external entities are not expanded; the error names the file and what to do."""
    used = "&b;" if "ENTITY b" in head else "&secret;" if "secret" in head else "x"
    write_export(tmp_path, index_text([record(ChannelName=used)], head=head), [image_name()])
    with pytest.raises(UnreadablePlateError) as caught:
        read(tmp_path)
    assert caught.value.path == "Images/Index.idx.xml"
    assert "it declares a document type or entities" in str(caught.value)
    assert "Export it again, or move it away" in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        '<Image huge="{}"/>',
        "<!-- {} -->",
        "<Image><URL>{}</URL></Image>",
        "<Image><{}/></Image>",
    ],
)
def test_huge_tags_and_texts_are_refused(tmp_path: Path, part: str) -> None:
    """One attribute, comment, text or name of 40 MB: reading ends early, in a sentence."""
    head, tail = index_text([]).split("</Images>")
    write_export(tmp_path, head + part.format("a" * 40_000_000) + "</Images>" + tail)
    with pytest.raises(UnreadablePlateError, match="a single tag or text in it is longer than 16 MiB"):
        read(tmp_path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """Elements inside elements without end are no index."""
    head, tail = index_text([]).split("</Images>")
    for opening in ("", "<Image>"):
        write_export(tmp_path, head + opening + "<a>" * 100_000 + "</Images>" + tail)
        with pytest.raises(UnreadablePlateError, match="nested deeper than 32"):
            read(tmp_path)


@pytest.mark.parametrize("size", [0.1, 0.5, 0.99])
def test_a_cut_index_is_refused(tmp_path: Path, data_dir: Path, size: float) -> None:
    """Half an index would be half a plate in silence."""
    content = (data_dir / "phenix_BR00121482_xml_only/Images/Index.idx.xml").read_bytes()
    write_export(tmp_path, content[: int(len(content) * size)], [image_name()])
    with pytest.raises(UnreadablePlateError, match=r"Images/Index\.idx\.xml cannot be read as Harmony's index: "):
        read(tmp_path)


def test_another_root_element_is_refused(tmp_path: Path) -> None:
    """The words of an index inside another document do not make it one."""
    write_export(tmp_path, f"<html>{index_text([]).partition('?>')[2]}</html>")
    with pytest.raises(UnreadablePlateError, match="its first element is 'html', expected 'EvaluationInputData'"):
        read(tmp_path)


def test_texts_of_the_index_stay_on_one_line(tmp_path: Path) -> None:
    """Line breaks and endless names cannot forge rows of a table."""
    write_export(tmp_path, index_text([record(ChannelName="DAPI&#10;  forged\u2028row" + "x" * 5000)]), [image_name()])
    name = str(read(tmp_path)[0].channels[0].name)
    assert name.startswith("DAPI forged row") and name.isprintable()
    assert len(name) == 200


def test_a_long_index_is_held_one_record_at_a_time(tmp_path: Path) -> None:
    """A record is dropped once it is read: memory follows the planes, not the size of the file."""
    import tracemalloc

    from openhcs_engine.microscopes.harmony.index import read_harmony_index

    padding = "".join(f"<Unknown{n}>{'x' * 40}</Unknown{n}>" for n in range(400))
    head, tail = index_text([]).split("</Images>")
    one = index_text([record() | CHANNEL]).partition("<Images>")[2].partition("</Images>")[0]
    path = tmp_path / "Index.xml"
    path.write_text(head + one.replace("</Image>", padding + "</Image>") * 300 + "</Images>" + tail)
    read_harmony_index(path.open("rb"), "Index.xml")  # what is imported and cached once does not count

    tracemalloc.start()
    with path.open("rb") as stream:
        index = read_harmony_index(stream, "Index.xml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(index.images) == 300
    assert peak < path.stat().st_size / 4
