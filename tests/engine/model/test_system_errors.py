"""Failed system calls are sentences with a remedy, wherever they happen."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine import FunctionStep, PipelineOrchestrator
from openhcs_engine.cli.app import CommandLine
from openhcs_engine.errors import OutputPlaceError, PlaneReadError
from openhcs_engine.execution import well as well_module
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.system_errors import REMEDIES, TRANSIENT, explained, explained_with_file, unreadable
from openhcs_engine.output.preflight import output_errors
from openhcs_engine.raw import plane as source
from tests.engine.plates import add

NUMBERS = [
    "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EIO", "ESTALE", "EMFILE", "ENFILE", "ENAMETOOLONG", "ENOTDIR",
    "EISDIR", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET", "ENOTCONN", "ENODEV", "ENOENT",
    "EBUSY", "ELOOP", "ENOLCK", "EFBIG", "ENOMEM", "EINVAL",
]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_every_error_of_a_drive_has_a_remedy_of_its_kind(name: str) -> None:
    """What the system said stays, so that it can be searched for; what to do follows."""
    error = OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "/data/x.tif")

    said, _, remedy = explained(error).partition("; ")

    assert said == os.strerror(error.errno or 0) and remedy == REMEDIES[error.errno or 0] and len(remedy) > 20
    assert explained_with_file(error, "writing well B03").startswith("/data/x.tif, while writing well B03: ")


def test_remedies_differ_where_what_to_do_differs() -> None:
    """A full drive, one without rights, a broken one and one that is away are four things."""
    kinds = [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.ETIMEDOUT, errno.EMFILE, errno.ENAMETOOLONG]

    assert len({REMEDIES[kind] for kind in kinds}) == len(kinds)
    assert {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN} <= TRANSIENT
    assert not TRANSIENT & {errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EROFS}


def test_an_unknown_number_and_an_error_without_one_are_told_all_the_same() -> None:
    """Decoders raise OSErrors of their own, which say what they say."""
    assert explained(OSError(9999, "Odd")).startswith("Odd; ")
    assert explained(OSError("codec ended.")) == "codec ended" and explained(ValueError()) == "ValueError"
    assert explained(OSError(errno.EIO, "")).startswith(os.strerror(errno.EIO))


def test_both_names_of_a_renaming_are_said() -> None:
    """Either may be the one in the way."""
    error = OSError(errno.EXDEV, "Invalid cross-device link", "/a/b", None, "/c/d")

    assert explained_with_file(error).startswith("/a/b to /c/d: ")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_failed_write_names_file_work_and_remedy(tmp_path: Path, name: str) -> None:
    """And says that finished wells are kept."""
    number = getattr(errno, name)
    with (
        pytest.raises(OutputPlaceError) as caught,
        output_errors(tmp_path, "writing well B03"),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "images.zarr" / "c"))

    told = str(caught.value)
    assert str(tmp_path / "images.zarr" / "c") in told and "while writing well B03" in told
    assert os.strerror(number) in told and REMEDIES[number] in told and "finished wells are kept" in told


def test_a_drive_that_fails_is_no_damaged_image(small_plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody shall copy an image again, or drop a well, that is whole."""
    (image, *_) = sorted(small_plate.rglob("*.tif"))

    class Failing(source._Plane):
        def _plain_page(self) -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)

    monkeypatch.setattr(source, "_Plane", Failing)
    with pytest.raises(PlaneReadError, match=r"cannot be read: Input/output error; the drive") as caught:
        source.read_plane(small_plate, str(image.relative_to(small_plate)))

    assert "damaged" not in str(caught.value)
    assert unreadable(OSError(errno.ESTALE, "Stale file handle")).startswith("cannot be read: Stale file handle; ")
    assert unreadable(ValueError("bad checksum")) == "is damaged: bad checksum"
    assert unreadable(FileNotFoundError(errno.ENOENT, "No such file")).startswith("is damaged: No such file")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_a_well_that_meets_a_raw_error_is_a_sentence_with_its_name(
    small_plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Wherever in the engine it came from: well, file, what happened, what to do; never a class and a number."""

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number), "/data/x")

    monkeypatch.setattr(well_module, "open_scratch", fail)
    run = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    pipeline = [FunctionStep(add)]
    (result,) = run.execute_compiled_plate(pipeline, run.compile_pipelines(pipeline, well_filter="A01")).values()

    assert result.error == f"Well A01: /data/x: {os.strerror(number)}; {REMEDIES[number]}."


def reads_a_file(stack: Array) -> Array:
    """A user's function whose model is not there."""
    Path("/nowhere/model.pt").read_bytes()
    return stack


def test_a_users_function_that_meets_one_is_named_with_the_remedy(small_plate: Path, tmp_path: Path) -> None:
    """Step, function, file, remedy."""
    run = PipelineOrchestrator(small_plate, output=tmp_path, runner="threads").initialize()
    pipeline = [FunctionStep(reads_a_file)]
    (result,) = run.execute_compiled_plate(pipeline, run.compile_pipelines(pipeline, well_filter="A01")).values()

    assert result.error is not None
    for part in ("Well A01, step 1", "reads_a_file", "/nowhere/model.pt", REMEDIES[errno.ENOENT]):
        assert part in result.error


@pytest.mark.parametrize("name", NUMBERS)
def test_a_command_ends_with_a_sentence_and_2(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """No traceback, whatever the drive said."""
    number = getattr(errno, name)
    line = CommandLine("line", "A command.")

    @line.command()
    def fails() -> int:
        raise OSError(number, os.strerror(number), "/data/x")

    @line.command()
    def other() -> int:
        return 0

    with pytest.raises(SystemExit) as ended:
        line(["fails"])

    said = capsys.readouterr().err
    assert ended.value.code == 2 and said == f"line: /data/x: {os.strerror(number)}; {REMEDIES[number]}.\n"
