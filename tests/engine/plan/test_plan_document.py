"""The plan document: plain columns, small on disk, exact whatever names are, and refused when it was touched."""

from __future__ import annotations

import gzip
import os
import random
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import ContextFileError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.microscopes.cellvoyager.names import CellVoyagerName
from openhcs_engine.microscopes.harmony.names import HarmonyName
from openhcs_engine.microscopes.imagexpress.names import ImageName
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane, PlaneKind
from openhcs_engine.model.wells import row_and_column, well_name
from openhcs_engine.plan import document as documents
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json, packed, unpacked
from openhcs_engine.raw.stamps import stamp
from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate
from tests.engine.plates import add, make_plate, output_plan

ROOT = Path(__file__).resolve().parents[3]
WELLS = tuple(well_name(row, column) for row in range(4) for column in range(12))
Document = dict[str, Any]  # Any: JSON


def plan_of(wells: dict[str, list[ImagePlane]]) -> dict[str, ProcessingContext]:
    """One context a well, with just these planes."""
    context = any_context()
    return {well: replace(context, well=well, index=ImageIndex(tuple(planes))) for well, planes in wells.items()}


@cache
def any_context() -> ProcessingContext:
    """One well of the small plate, compiled."""
    plate, index = make_plate(("A01",))
    return compile_plate(plate, index, [FunctionStep(add)], output=output_plan()).contexts["A01"]


def plate_named(name: Callable[[ImageKey], str | None], wells: tuple[str, ...] = WELLS) -> dict[str, list[ImagePlane]]:
    """Wells of 3 sites, 2 channels and 2 z planes with files of these names, written one after the other."""
    pause, now, found = random.Random(1), 1_700_000_000_000_000_000, dict[str, list[ImagePlane]]()
    for well in wells:
        for site in (1, 2, 3):
            for channel in (1, 2):
                for z_index in (1, 2):
                    now += pause.randrange(200_000_000, 900_000_000)
                    key = ImageKey(well, site, channel, z_index, 1)
                    plane = ImagePlane(key=key, path=name(key), size=9_338_880, mtime_ns=now)
                    found.setdefault(well, []).append(plane)
    return found


def parsed(contexts: dict[str, ProcessingContext]) -> Document:
    """The document's JSON."""
    document: Document = msgspec.json.decode(contexts_to_json(contexts))
    return document


def survives(contexts: dict[str, ProcessingContext]) -> bool:
    """Whether what is read back from its file is equal, and has equal fingerprints."""
    again = contexts_from_json(packed(contexts_to_json(contexts)))
    prints = {well: context.fingerprint for well, context in contexts.items()}
    return again == contexts and {well: context.fingerprint for well, context in again.items()} == prints


# -- names -----------------------------------------------------------------------------------------------------------


def numbers(key: ImageKey) -> tuple[int, int, int, int]:
    """Site, channel, z and time, all of them given."""
    assert key.site and key.channel and key.z_index and key.timepoint
    return key.site, key.channel, key.z_index, key.timepoint


def imagexpress(key: ImageKey) -> str:
    """In folders for times and z steps."""
    site, channel, z_index, timepoint = numbers(key)
    return f"TimePoint_{timepoint}/ZStep_{z_index}/{ImageName(key.well, site, channel, prefix='P_1')}"


def phenix(key: ImageKey) -> str:
    """Harmony's."""
    site, channel, z_index, timepoint = numbers(key)
    return f"Images/{HarmonyName(key.well, site, z_index, channel, timepoint)}"


def cellvoyager(key: ImageKey) -> str:
    """Each channel is another action, and z is counted through the time lines."""
    site, channel, z_index, timepoint = numbers(key)
    return str(CellVoyagerName(key.well, timepoint, site, 1, 3 - channel, z_index, channel, "AssayPlate_1"))


def ome_zarr(key: ImageKey) -> str:
    """Images are counted from 0."""
    row, column = row_and_column(key.well)
    return f"{well_name(row, 0)[:-2]}/{column + 1}/{numbers(key)[0] - 1}/0"


NAMINGS: dict[str, Callable[[ImageKey], str | None]] = {
    "imagexpress": imagexpress,
    "phenix": phenix,
    "cellvoyager": cellvoyager,
    "ome_zarr": ome_zarr,
    "never named": lambda key: None if key.z_index == 2 else imagexpress(key),
}


@pytest.mark.parametrize("name", NAMINGS)
def test_columns_hold_what_each_plane_is(name: str) -> None:
    """One value a plane, well by well; columns in which all planes are alike in the usual way are left out."""
    wells = plate_named(NAMINGS[name])
    contexts = plan_of(wells)

    columns = parsed(contexts)["index"]

    planes = [plane for well in wells.values() for plane in well]
    assert columns.keys() == {"well", "timepoint", "site", "channel", "z_index", "path", "size", "mtime_ns"}
    assert columns["path"] == [plane.path for plane in planes]
    assert columns["mtime_ns"] == [plane.mtime_ns for plane in planes]
    for axis in ("well", "timepoint", "site", "channel", "z_index"):
        assert columns[axis] == [getattr(plane.key, axis) for plane in planes]
    assert survives(contexts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plates_as_they_are_read_come_back(tmp_path: Path, layout: str) -> None:
    """From the folder through the plan document: the same planes, arrays' indexes and chunks included."""
    spec = SyntheticPlate(rows=2, columns=3, sites=2, channels=("DAPI", "GFP"), z=2, shape=(32, 32))
    plate, index = detect_microscope(LAYOUTS[layout](tmp_path / "plate", spec)).read_plate()
    entering = stamp(index.pipeline_input(), plate.root)

    contexts = plan_of({well: list(planes) for well, planes in entering.by_well.items()})

    assert survives(contexts)
    assert ("array_index" in parsed(contexts)["index"]) == any(plane.array_index for plane in entering)


def guid_after(name: Callable[[ImageKey], str]) -> Callable[[ImageKey], str]:
    """Names with a GUID before their ending, always the same ones."""
    bits = random.Random(3)
    return lambda key: f"{name(key)}{str(uuid.UUID(int=bits.getrandbits(128))).upper()}.tif"


def test_gaps_and_projections_are_columns_of_their_own() -> None:
    """Present once one plane is absent; where nothing is to be said of any plane, they are left out."""
    wells = plate_named(imagexpress, WELLS[:2])
    wells["A02"][3] = wells["A02"][3].replace(present=False, size=0, mtime_ns=0)
    wells["A01"][0] = wells["A01"][0].replace(kind=PlaneKind.PROJECTION, array_index=(0, 2), chunks="abc")
    contexts = plan_of(wells)

    columns = parsed(contexts)["index"]

    assert columns["present"] == [True] * 15 + [False] + [True] * 8
    assert columns["kind"] == ["projection"] + ["plane"] * 23
    assert columns["array_index"] == [[0, 2]] + [None] * 23
    assert columns["chunks"] == ["abc"] + [""] * 23
    assert survives(contexts)


def test_a_file_is_gzip_that_says_neither_time_nor_name(tmp_path: Path) -> None:
    """So that the same plan is the same file; ``gzip -dc``, as ``zcat``, shows the document."""
    document = contexts_to_json(plan_of(plate_named(imagexpress)))
    file = tmp_path / "plan.json.gz"
    file.write_bytes(packed(document))

    shown = subprocess.run(["gzip", "-dc", str(file)], capture_output=True, check=True).stdout

    assert shown == document
    assert file.read_bytes()[3:8] == bytes(5)  # no flags, so no name, and no time
    assert len(file.read_bytes()) < len(document) / 4


def test_a_file_that_was_compressed_otherwise_is_read_and_a_damaged_one_is_refused() -> None:
    """With name and time, as a person packs it; cut, continued or flipped, it is no plan."""
    contexts = plan_of(plate_named(imagexpress, WELLS[:2]))
    content = gzip.compress(contexts_to_json(contexts), 9, mtime=1_700_000_000)

    assert contexts_from_json(content) == contexts
    for damaged, sentence in (
        (content[:-1], "ends before its end"),
        (content[: len(content) // 2], "ends before its end"),
        (content + content, "something behind its end"),
        (content[:-6] + bytes(2) + content[-4:], "damaged: .*check"),
        (content[:2] + b"?" + content[3:], "damaged: "),
    ):
        with pytest.raises(ContextFileError, match=sentence):
            contexts_from_json(damaged)


def test_what_unpacks_to_more_than_any_plan_is_refused_while_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is made to hold it; and no plan is written that could not be read again."""
    contexts = plan_of(plate_named(imagexpress, WELLS[:2]))
    document = contexts_to_json(contexts)
    monkeypatch.setattr(documents, "MAX_BYTES", len(document))
    assert unpacked(packed(document)) == document and contexts_to_json(contexts) == document

    monkeypatch.setattr(documents, "MAX_BYTES", len(document) - 1)
    with pytest.raises(ContextFileError, match=r"more than .* bytes, which no plan has"):
        contexts_from_json(packed(document))
    with pytest.raises(ContextFileError, match=r"cannot be kept: .* Compile fewer wells"):
        contexts_to_json(contexts)


def test_a_document_of_one_well_holds_that_well_alone() -> None:
    """A worker is sent no file name of another well, and no other well's times."""
    contexts = plan_of(plate_named(guid_after(lambda key: f"{key.well}_s{key.site}")))

    for well in ("A01", "D12"):
        document = contexts_to_json({well: contexts[well]})
        assert set(re.findall(rb"[A-D][01][0-9]_s", document)) == {well.encode() + b"_s"}
        assert contexts_from_json(document) == {well: contexts[well]}


def test_the_wells_of_a_document_come_back_in_plate_order() -> None:
    """Canonical JSON sorts AA01 before B01; whoever reads the plan gets A48, B01, AA01."""
    order = ["A48", "B01", "Z01", "AA01", "AF48"]
    contexts = plan_of(plate_named(lambda key: f"{key.well}.tif", tuple(order)))

    again = contexts_from_json(packed(contexts_to_json(dict(reversed(contexts.items())))))

    assert list(again) == order
    assert again == contexts


def test_the_index_is_known_by_its_digest() -> None:
    """Plans of the same files name the same index, whatever their steps; one file more is another index."""
    wells = plate_named(imagexpress)
    plans = [plan_of(wells), plan_of(wells), plan_of(wells | {"A01": wells["A01"][1:]})]
    plans[1] = {well: replace(context, versions=("numpy==0",)) for well, context in plans[1].items()}

    first, other_steps, other_files = (parsed(plan) for plan in plans)

    assert first["index_sha256"] == other_steps["index_sha256"] != other_files["index_sha256"]
    assert first["fingerprint"] != other_steps["fingerprint"]


# -- laws ------------------------------------------------------------------------------------------------------------

axis_values = st.none() | st.integers(0, 12) | st.integers()
odd_names = st.text(max_size=12) | st.text("{}:\n\0/.-site0", max_size=12)
NAMES: tuple[Callable[[ImageKey], str], ...] = (
    lambda key: f"T_{key.timepoint}/{key.well}_s{key.site}_w{key.channel}_z{key.z_index}.tif",
    lambda key: f"{key.well}/{key.site}{key.channel}.tif",
    lambda key: f"r{len(key.well):02d}c01/{key.well.lower()}-{(key.site or 0) + 7:03d}.tif",
    lambda key: f"L01A01_{key.well}_{(key.z_index or 0) * 3}.tif",
)


def is_inside(path: str) -> bool:
    """False for a path that no plane of a plate can have."""
    return not path.startswith("/") and ".." not in path.split("/")


@st.composite
def planes_of(draw: st.DrawFn, well: str) -> list[ImagePlane]:
    """Planes of one well, in any order, with names by a rule or none."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        key = ImageKey(well, *(draw(axis_values) for _ in range(4)))
        named = st.sampled_from(NAMES).map(lambda name, key=key: name(key))
        found.append(
            ImagePlane(
                key=key,
                path=draw(st.none() | named | named | odd_names.filter(is_inside)),
                kind=draw(st.sampled_from(PlaneKind)),
                present=draw(st.booleans()),
                size=draw(st.integers(0, 9) | st.integers(0)),
                mtime_ns=draw(st.integers(0, 9) | st.integers()),
                array_index=draw(st.none() | st.lists(st.integers(), max_size=3).map(tuple)),
            )
        )
    return draw(st.permutations(found))


@st.composite
def plates(draw: st.DrawFn) -> dict[str, list[ImagePlane]]:
    """Wells with planes of their own, or with those of another well under its own name."""
    names = st.sampled_from(("A01", "A02", "B01", "B12", "P24", "AF48")) | st.text(max_size=4)
    wells = draw(st.lists(names.filter(is_inside), min_size=1, max_size=4, unique=True))
    plate = {wells[0]: draw(planes_of(wells[0]))}
    for well in wells[1:]:
        copied = [
            plane.replace(
                key=plane.key.replace(well=well), path=plane.path and plane.path.replace(wells[0] or "\x7f", well)
            )
            for plane in plate[wells[0]]
        ]
        plate[well] = copied if draw(st.booleans()) else draw(planes_of(well))
    return plate


@given(plates().filter(lambda plate: all(p.path is None or is_inside(p.path) for ps in plate.values() for p in ps)))
def test_every_plan_comes_back_exactly(plate: dict[str, list[ImagePlane]]) -> None:
    """Null axes, gaps, projections, any text as a name, any integer as time, in any order: equal, fingerprints too."""
    assert survives(plan_of(plate))


WRITE_DOCUMENT = """
    import sys
    from tests.engine.plan.test_plan_document import cellvoyager, contexts_to_json, packed, plan_of, plate_named

    sys.stdout.buffer.write(packed(contexts_to_json(plan_of(plate_named(cellvoyager)))))
"""


def test_every_process_writes_the_same_bytes() -> None:
    """Whatever the seed of its hashes."""
    told = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WRITE_DOCUMENT)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    ]

    assert told[0] == told[1] != b""


# -- damage ----------------------------------------------------------------------------------------------------------


def put(column: str, value: object, at: int = 12) -> Callable[[Document], object]:
    """Another value in a column; that of well A02's first plane, if nothing else is said."""
    return lambda document: document["index"][column].__setitem__(at, value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("path", "../a.tif"), r"'\.\./a.tif' leads out of the plate folder"),
        (put("path", "/etc/passwd"), "leads out of the plate folder"),
        (put("path", "a/../../b"), "leads out of the plate folder"),
        (put("path", "another.tif"), "wells A02 do not match"),
        (put("site", 3), "wells A02 do not match"),
        (put("size", 1), "wells A02 do not match"),
        (put("mtime_ns", 4), "wells A02 do not match"),
        (put("mtime_ns", "4"), "Expected `int`, got `str`"),
        (put("well", "A01"), "wells A01, A02 do not match"),
        (put("well", "Q99"), "names well Q99 without its fingerprint"),
        (put("well", "?"), r"names well \? without its fingerprint"),
        (lambda d: d["index"]["path"].pop(), "the column path has 35 values for 36 planes"),
        (lambda d: d["index"]["size"].clear(), "the column size has 0 values for 36 planes"),
        (lambda d: d["index"].update(present=[True]), "the column present has 1 values for 36 planes"),
        (lambda d: d["index"].update(present=[True] * 35 + [False]), "wells A03 do not match"),
        (lambda d: d["index"].update(kind=["movie"] * 36), "movie"),
        (lambda d: d["index"].update(chunks=["abc"] * 36, array_index=[[0]] * 36), "A01, A02, A03 do not match"),
        (lambda d: d["index"].update(address=["page 3"] * 36), "at an address inside their file"),
        (lambda d: d["index"].update(address=["page 3"]), "the column address has 1 values for 36 planes"),
        (lambda d: d["index"].update(owner=["me"] * 36), "owner"),
        (lambda d: d["index"].pop("site"), "site"),
        (lambda d: d["wells"].pop("A02"), "names well A02 without its fingerprint"),
        (lambda d: d.update(index_sha256="0" * 64), "changed after it was written"),
        (lambda d: d.update(format=1), "has format 1; this version reads the formats 2 and 3"),
        (lambda d: d.update(format=2), "not a plan document of format 2"),
        (lambda d: d.update(format=4), "has format 4"),
    ],
)  # fmt: skip
def test_a_damaged_or_edited_index_is_refused(change: Callable[[Document], object], sentence: str) -> None:
    """With the column, the path or the well."""
    document = parsed(plan_of(plate_named(imagexpress, WELLS[:3])))
    change(document)

    with pytest.raises(ContextFileError, match=sentence):
        contexts_from_json(msgspec.json.encode(document))


def test_a_document_of_the_first_format_says_so() -> None:
    """It has no index at all, and still the sentence names the format and not a missing field."""
    document = parsed(plan_of(plate_named(imagexpress, WELLS[:1]))) | {"format": 1}
    del document["index"], document["index_sha256"]

    with pytest.raises(
        ContextFileError, match=r"has format 1; this version reads .* 2 and 3\. Compile the plate again"
    ):
        contexts_from_json(msgspec.json.encode(document))


@pytest.mark.parametrize("path", ["/data/a.tif", "../a.tif", "a/../../b.tif", "../{a}\n.tif"])
def test_a_plan_with_files_outside_the_plate_folder_is_not_written(path: str) -> None:
    """What would be refused when it is read is refused when it is written."""
    wells = plate_named(imagexpress, WELLS[:2])
    wells["A02"][3] = wells["A02"][3].replace(path=path)

    with pytest.raises(ContextFileError, match="leads out of the plate folder"):
        contexts_to_json(plan_of(wells))


# -- the format before -----------------------------------------------------------------------------------------------

FORMAT_2 = ROOT / "tests" / "archive" / "plan-format-2.json"
"""Of three wells, written by the last version of format 2: gaps, arrays, names by a rule and with a GUID each."""


def test_a_document_of_format_2_is_read() -> None:
    """Plane by plane, as its fingerprints prove; written again it is of today's format and says the same."""
    contexts = contexts_from_json(FORMAT_2.read_bytes())

    assert {well: len(context.index) for well, context in contexts.items()} == {"A01": 17, "A02": 16, "B11": 17}
    a02 = contexts["A02"].index.planes
    assert a02[0].path == "TimePoint_1/ZStep_1/P_1_A02_s1_w1.tif" and a02[0].size == 9_338_880
    assert [plane.present for plane in a02].count(False) == 2
    arrays = [plane for plane in contexts["B11"].index if plane.array_index is not None]
    assert [(plane.path, plane.array_index, plane.chunks) for plane in arrays] == [
        ("B/11/0/0", (0, 0, z), "abcdefghB1") for z in (0, 1)
    ]
    assert "more/b11_s5_w1.tif" in {plane.path for plane in contexts["B11"].index}
    assert survives(contexts)
    assert parsed(contexts)["format"] == documents.FORMAT


def before(document: Document, number: int = 0) -> Document:
    """A template."""
    found = document["index"]["templates"][number]
    assert isinstance(found, dict)
    return found


def own(document: Document) -> Document:
    """What is well A02's own."""
    found = document["index"]["wells"]["A02"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: before(d).update(path="../{row}{column}_{site}.tif"), r"'\.\./.*leads out of the plate folder"),
        (lambda d: own(d).update(texts=["a/../.."]), "of well A02, .*leads out of the plate folder"),
        (lambda d: before(d).update(path="{root}/a.tif"), "unknown field"),
        (lambda d: before(d).update(path="{site:99999999999d}"), "unknown field"),
        (lambda d: before(d).update(path="{text}{text}"), "unknown field"),
        (lambda d: before(d).update(path="a\nb"), "control character"),
        (lambda d: before(d, 2).update(array_index="{row}"), "invalid literal"),
        (lambda d: before(d).update(site=[[1, 2_000_000_000]]), "there are .* planes"),
        (lambda d: before(d).update(site=[[3, 1]]), "ends before it begins"),
        (lambda d: before(d).update(site=None), "collapsed"),
        (lambda d: before(d).update(owner="me"), "owner"),
        (lambda d: before(d).update(path="{row}{column:02d}_other_{site}.tif"), "A01, A02.* do not match"),
        (lambda d: own(d).update(slots=[[0, 112]]), "of well A02, plane 112 is named"),
        (lambda d: own(d).update(slots=[[0, 4_000_000_000]]), "there are 4,0.* planes"),
        (lambda d: own(d).update(mtime_ns="0 1"), "of well A02, 2 numbers stand for 16 planes"),
        (lambda d: own(d).update(mtime_ns=4), "wells A02 do not match"),
        (lambda d: own(d).update(absent=[[0, 10**12]]), "of well A02, more than its 16 planes are absent"),
        (lambda d: own(d).update(chunks="short"), "of well A02, the digests of 0.5 arrays stand for 1"),
        (lambda d: own(d)["texts"].append("a"), "of well A02, its 3 texts stand for fewer planes"),
        (lambda d: d["index"]["wells"].update({"?": d["index"]["wells"].pop("A02")}), "'?' is not the name of a well"),
        (lambda d: d["index"]["wells"].pop("A02"), "wells A02 do not match"),
    ],
)  # fmt: skip
def test_a_damaged_document_of_format_2_is_refused(change: Callable[[Document], object], sentence: str) -> None:
    """Before anything is made of a claim that no plate can meet."""
    document: Document = msgspec.json.decode(FORMAT_2.read_bytes())
    change(document)

    with pytest.raises(ContextFileError, match=sentence):
        contexts_from_json(msgspec.json.encode(document))
