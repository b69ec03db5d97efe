"""Manifests: exact round trip, strict reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from openhcs_engine.context import FrozenMap
from openhcs_engine.errors import ManifestError
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.output.manifest import (
    StagedWell,
    WellManifest,
    manifest_from_json,
    manifest_to_json,
    read_manifest,
)
from openhcs_engine.vfs.files import StoredFile
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
