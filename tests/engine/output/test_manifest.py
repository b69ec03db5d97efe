"""Manifests: exact round trip, strict reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import StoredFile
from openhcs_engine.model.components import Component
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import ImageIndex, ImageKey
from openhcs_engine.output.layout import WELLS, manifest_paths
from openhcs_engine.output.manifest import (
    StagedWell,
    WellManifest,
    manifest_from_json,
    manifest_to_json,
    read_manifest,
)
from openhcs_engine.output.provenance import RawFile, raw_files
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, Route, StepPlan
from tests.engine.outputs import make_context

MANIFEST = WellManifest(
    well="B03",
    fingerprint="f" * 64,
    plan="p" * 64,
    backend="zarr",
    finished="2026-03-14T22:15:03+00:00",
    seconds=2.5,
    device="cuda:0",
    files=(StoredFile("images.zarr/B/03/zarr.json", 120, 7), StoredFile("images.zarr/B/03/0/zarr.json", 1, 2**32 - 1)),
    absent=(ImageKey("B03", None, 2, 3, None),),
    sources=12,
    raw=(RawFile("TimePoint_1/a.tif", 100, 1_795_392_331_811_476_333),),
    provenance=FrozenMap.of({"versions": ["numpy==2"], "steps": {"1": {"seconds": 0.5}}, "fallback": None}),
)


def test_a_manifest_comes_back_equal() -> None:
    """Every field, nested provenance and collapsed coordinates included."""
    assert manifest_from_json(manifest_to_json(MANIFEST), "B03.json") == MANIFEST
    assert MANIFEST.nbytes == 121


def test_the_manifest_of_a_context_says_how_it_was_made(tmp_path: Path) -> None:
    """Fingerprint, raw files, versions, and a time in UTC."""
    context = make_context(tmp_path)
    staged = StagedWell(well="A01", folder=tmp_path, places=(), files=MANIFEST.files, absent=MANIFEST.absent)
    manifest = WellManifest.of(context, staged, seconds=1.0, device="cpu:0")
    assert (manifest.well, manifest.fingerprint, manifest.sources) == ("A01", context.fingerprint, 12)
    assert manifest.provenance["versions"] == ("plan 1",) and manifest.finished.endswith("+00:00")
    assert (manifest.files, manifest.absent) == (staged.files, staged.absent)


def with_step(context: ProcessingContext) -> ProcessingContext:
    """A context that normalises with a parameter, one channel otherwise than the others."""
    call = FunctionCall(
        reference="lab.functions:brighter", source_sha256="c" * 64, version="lab==1.2", kwargs=FrozenMap.of({"by": 2})
    )
    other = replace(call, kwargs=FrozenMap.of({"by": 3}))
    step = StepPlan(
        number=1,
        name="Brighten",
        variable_components=(Component.Z_INDEX,),
        group_by=Component.CHANNEL,
        routes=(Route(key=1, calls=(call,)), Route(key=2, calls=(other,))),
    )
    return replace(context, steps=(step,), output=replace(context.output, pipeline="My pipeline"))


def test_which_files_which_parameters_which_code_made_this_number(tmp_path: Path) -> None:
    """The manifest alone answers, as JSON that needs no program."""
    context = with_step(make_context(tmp_path))
    staged = StagedWell(well="A01", folder=tmp_path, places=(), files=())
    recorded = {
        "run": "run-7",
        "steps": [{"number": 1, "name": "Brighten", "device": "gpu:1", "routes": ("numpy -> torch",)}],
    }
    written = manifest_to_json(
        WellManifest.of(context, staged, seconds=1.0, device="gpu:1", plan="p", recorded=recorded)
    )
    found = msgspec.json.decode(written)

    assert found["raw"] == [
        {"path": plane.path, "size": plane.size, "mtime_ns": plane.mtime_ns}
        for plane in sorted(context.index.present(), key=lambda plane: str(plane.path))
    ]
    made = found["provenance"]
    assert (made["run"], made["pipeline"], made["plate"]["root"]) == ("run-7", "My pipeline", context.plate.root)
    assert made["engine"].startswith("openhcs-dagster==") and made["versions"] == ["plan 1"]
    (step,) = made["steps"]
    assert (step["device"], step["routes"], step["over"]) == ("gpu:1", ["numpy -> torch"], ["z_index"])
    assert [(call["for"], call["function"], call["version"], call["parameters"]) for call in step["functions"]] == [
        (1, "lab.functions:brighter", "lab==1.2", {"by": 2}),
        (2, "lab.functions:brighter", "lab==1.2", {"by": 3}),
    ]
    assert {call["source_sha256"] for call in step["functions"]} == {"c" * 64}


def test_a_file_of_many_planes_is_one_raw_file(tmp_path: Path) -> None:
    """Planes of one array share a path; planes that do not exist have none."""
    index = make_context(tmp_path).index
    planes = tuple(plane.replace(path="image.zarr", present=number != 0) for number, plane in enumerate(index))
    assert raw_files(ImageIndex(planes)) == (RawFile("image.zarr", planes[1].size, planes[1].mtime_ns),)
    assert raw_files(ImageIndex(planes[:1])) == ()


def test_manifests_of_earlier_versions_are_read() -> None:
    """Fields that came later have defaults."""
    earlier = msgspec.json.decode(manifest_to_json(MANIFEST))
    del earlier["raw"], earlier["provenance"]
    assert manifest_from_json(msgspec.json.encode(earlier), "B03.json").raw == ()


def changed(**fields: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(manifest_to_json(MANIFEST)), **fields})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a readable manifest"),
        (b"{", "not a readable manifest"),
        (b"null", "not a readable manifest"),
        (b"{}", "missing required field"),
        (manifest_to_json(MANIFEST)[:-20], "not a readable manifest"),
        (b"\xff\xfe" * 50, "not a readable manifest"),
        (changed(files=[{"path": "a"}]), "size"),
        (changed(seconds="fast"), "seconds"),
        (changed(format=99), "format 99"),
    ],
)
def test_a_damaged_manifest_is_one_error_that_names_the_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Whatever is in it."""
    path = tmp_path / "B03.json"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=sentence) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_another_wells_manifest_is_damage(tmp_path: Path) -> None:
    """A copied file does not make a well."""
    path = tmp_path / "B04.json"
    path.write_bytes(manifest_to_json(MANIFEST))
    with pytest.raises(ManifestError, match="manifest of well B03"):
        read_manifest(path)


def test_no_manifest_is_none_and_a_folder_of_that_name_is_damage(tmp_path: Path) -> None:
    """Absent and unreadable are told apart."""
    assert read_manifest(tmp_path / "B03.json") is None
    (tmp_path / "B03.json").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "B03.json")


def test_a_path_that_climbs_out_of_the_output_is_refused() -> None:
    """A manifest names files of its own folder alone."""
    outside = replace(MANIFEST, files=(StoredFile("../../etc/passwd", 1, 1),))
    with pytest.raises(ManifestError, match="passwd"):
        manifest_from_json(manifest_to_json(outside), "B03.json")


def test_manifests_are_found_in_plate_order(tmp_path: Path) -> None:
    """Not in the order of their names, in which AA01 stands before B01; other files are no manifests."""
    order = ["A48", "B01", "Z01", "AA01", "AF48"]
    (tmp_path / WELLS).mkdir()
    for name in (*reversed(order), "notes", "A1"):
        (tmp_path / WELLS / f"{name}.json").write_text("{}")

    assert [path.stem for path in manifest_paths(tmp_path)] == order
