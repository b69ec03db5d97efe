"""Fits in outputs of both kinds: published whole or not at all, verified, repaired, swept."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator, PlateStep, Sample
from openhcs_engine.execution import WellStatus
from openhcs_engine.files.unfinished import hidden_name
from openhcs_engine.output.bucket import fits as bucket_fits
from openhcs_engine.output.bucket.output import PlateBucket
from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import (
    FitRecord,
    FittedPart,
    FitValue,
    fit_folder,
    record_from_json,
    record_path,
    record_to_json,
)
from openhcs_engine.output.fits.values import UnfitValueError, decode, encode
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.verification.repair import repair
from openhcs_engine.output.verification.verify import PLATE, verify
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine import fit_functions as fits

PIPELINE = Pipeline(
    [PlateStep(fits.mean_image, name="field", sample=Sample(images=4, minimum=2)), FunctionStep(fits.subtract_field)]
)


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells of two sites and one channel; read only."""
    spec = SyntheticPlate(name="lit", rows=1, columns=2, sites=2, z=1, channels=("DAPI",), shape=(32, 32))
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "lit", spec)


@pytest.fixture(params=["folder", "memory", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where results go: a folder of this host, and stores of two kinds."""
    if request.param == "folder":
        return str(tmp_path / "out")
    name = f"fits-{os.urandom(4).hex()}"
    return f"memory://{name}" if request.param == "memory" else f"{request.getfixturevalue('bucket')}/{name}"


def run(plate: Path, address: str) -> dict[str, Any]:
    orchestrator = PipelineOrchestrator(plate, output=address, runner="threads").initialize()
    contexts = orchestrator.compile_pipelines(PIPELINE)
    return orchestrator.execute_compiled_plate(PIPELINE, contexts, max_workers=2)


def statuses(results: dict[str, Any]) -> set[WellStatus]:
    return {result.status for result in results.values()}


def only(stored: OutputFits) -> FitRecord:
    """The only fit of the name."""
    (fingerprint,) = stored.fingerprints("field")
    record = stored.find("field", fingerprint)
    assert record is not None
    return record


def break_file(address: str, path: str) -> None:
    """Cut a file of an output off."""
    output = open_output(f"{address}/lit")
    if isinstance(output, PlateBucket):
        output.bucket.put(path, b"cut")
    else:
        Path(address, "lit", path).write_bytes(b"cut")


def test_a_plate_with_a_fit_verifies_and_its_fit_is_used_again(lit: Path, address: str) -> None:
    """No file of it is foreign, whichever kind of output it lies in."""
    assert statuses(run(lit, address)) == {WellStatus.DONE}
    report = verify(f"{address}/lit")
    assert report.ok and not report.foreign
    record = only(open_output(f"{address}/lit").fits)
    assert record.parts[0].images == 4 and len(record.files) == 2
    open_output(f"{address}/lit").drop("A01")
    results = run(lit, address)
    assert {well: result.status for well, result in results.items()} == {
        "A01": WellStatus.DONE,
        "A02": WellStatus.UNCHANGED,
    }
    assert only(open_output(f"{address}/lit").fits).finished == record.finished


def test_a_damaged_fit_is_named_dropped_by_repair_and_made_again_by_the_next_run(lit: Path, address: str) -> None:
    """Its wells stay; until then it is called missing."""
    run(lit, address)
    record = only(open_output(f"{address}/lit").fits)
    break_file(address, record.files[0].path)
    report = verify(f"{address}/lit")
    (damage,) = report.damaged
    assert damage.well == PLATE and damage.reasons[0].startswith(f"{record.files[0].path} has 3 bytes instead of")
    assert report.damaged_fits == (record.folder,) and set(report.whole) == {"A01", "A02"}
    repaired = repair(f"{address}/lit", report)
    assert repaired.dropped == () and repaired.dropped_fits == (record.folder,)
    assert repaired.ok and not repaired.report.ok and repaired.report.missing_fits == (record.folder,)
    assert statuses(run(lit, address)) == {WellStatus.UNCHANGED}
    assert verify(f"{address}/lit").ok


def test_a_record_that_cannot_be_read_is_damage(lit: Path, address: str) -> None:
    """``fit.json`` alone decides that a fit exists."""
    run(lit, address)
    record = only(open_output(f"{address}/lit").fits)
    break_file(address, f"{record.folder}/fit.json")
    report = verify(f"{address}/lit")
    assert "fit.json is not a readable record of a fit" in report.damaged[0].reasons[0]
    repair(f"{address}/lit", report)
    run(lit, address)
    assert verify(f"{address}/lit").ok


def test_a_sweep_removes_what_a_dead_run_left_of_a_fit_and_keeps_what_is_whole(
    lit: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder a hidden one; in a store files that no record lists, once nobody can be putting them any more."""
    run(lit, address)
    output = open_output(f"{address}/lit")
    record = only(output.fits)
    if isinstance(output, PlateBucket):
        left = f"{fit_folder('field', 'ab' * 32)}/v0123456789f.w1.npy"
        output.bucket.put(left, b"half")
        output.sweep()
        assert output.bucket.exists(left)  # somebody may be at it
        monkeypatch.setattr(bucket_fits, "PATIENCE_S", -10.0)
        output.sweep()
        assert not output.bucket.exists(left)
    else:
        hidden = Path(address, "lit", "fits", "field", hidden_name())
        hidden.mkdir()
        (hidden / "w1.npy").write_bytes(b"half")
        output.sweep()
        assert not hidden.exists()
    assert only(output.fits) == record and verify(f"{address}/lit").ok


def test_of_two_runs_that_fit_at_once_one_fit_is_kept(lit: Path, address: str) -> None:
    """The second publishes the same fingerprint: what is there is whole before and after."""
    run(lit, address)
    stored = open_output(f"{address}/lit").fits
    record = only(stored)
    contents = {"w1.npy": stored.read(record.parts[0].values[0].path)}
    part = FittedPart(
        channel=1,
        label="DAPI",
        images=4,
        values=(FitValue(name="", kind="array", path=f"{record.folder}/w1.npy"),),
    )
    again = replace(record, files=(), picture="", parts=(part,), finished="later")
    kept = stored.publish(again, contents)
    assert only(stored) == kept and {file.path for file in kept.files} >= {kept.parts[0].values[0].path}
    assert verify(f"{address}/lit").ok and not verify(f"{address}/lit").foreign


def test_links_on_the_way_of_a_fit_are_refused(lit: Path, tmp_path: Path) -> None:
    """They would lead to files of others."""
    run(lit, str(tmp_path / "out"))
    shutil.rmtree(tmp_path / "out" / "lit" / "fits")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "lit" / "fits").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        run(lit, str(tmp_path / "out"))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("number", [True, False, np.True_, 3, np.int8(-3), 2**64 - 1, 0.5, 3.0, np.float32(0.1)])
def test_numbers_come_back_from_the_record_as_they_were(number: Any) -> None:
    """True stays true and 3.0 no whole number, alone and in a dict."""
    for result in (number, {"value": number}):
        values = encode("all", result).values
        part = FittedPart(channel=None, label="", images=8, values=values)
        record = FitRecord(
            name="level", fingerprint="a1", sample_fingerprint="a1", plate="lit", function="lab:level", version="",
            source_sha256="", versions=(), asked=8, minimum=8, used=(), parts=(part,), files=(), finished="",
            seconds=0.0,
        )  # fmt: skip
        (read,) = record_from_json(record_to_json(record), record_path("level", "a1")).parts
        decoded: Any = decode(read, lambda path: b"")
        decoded = decoded["value"] if isinstance(result, dict) else decoded
        expected = np.asarray(number).item()
        assert decoded == expected and type(decoded) is type(expected)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40, float("nan"), np.complex128(1j)])
def test_numbers_that_no_record_holds_are_refused(number: Any) -> None:
    """Before anything is written."""
    with pytest.raises(UnfitValueError, match=r"'value' as .*(64 bits|no finite number)"):
        encode("all", {"value": number})
