"""The file of what was decided about a plate: beside its results, whole or not at all, never taken for nothing."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from openhcs_engine.errors import ManifestError, OutputPlaceError, UnsafePathError
from openhcs_engine.model.judgement.verdict import Decision, Verdict
from openhcs_engine.output.judgement.verdict_file import add_verdict, read_verdicts
from openhcs_engine.output.verification.verify import verify
from tests.engine.plate_outputs import prepared, published


def verdict(number: int = 1) -> Verdict:
    """A rejection of one well."""
    return Verdict(
        decision=Decision.REJECT,
        wells=("A01",),
        reason=f"dry {number}",
        by="Ada",
        made="2026-03-01T08:00:00+00:00",
        data_version="v1",
    )


def test_decisions_come_back_in_their_order(tmp_path: Path) -> None:
    """As they were made; a plate without the file has none."""
    assert read_verdicts(tmp_path) == () == read_verdicts(tmp_path / "missing")

    add_verdict(tmp_path, "P1", verdict(1))
    all_of_them = add_verdict(tmp_path, "P1", verdict(2))

    assert read_verdicts(tmp_path) == all_of_them == (verdict(1), verdict(2))
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts.json"]
    assert json.loads((tmp_path / "verdicts.json").read_text())["plate"] == "P1"


def test_decisions_made_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    """One comes after the other."""
    threads = [threading.Thread(target=add_verdict, args=(tmp_path, "P1", verdict(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {each.reason for each in read_verdicts(tmp_path)} == {f"dry {number}" for number in range(8)}


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}', b'{"format": 2, "plate": "P", "verdicts": []}'])
def test_a_file_that_cannot_be_read_is_not_taken_for_no_decision(content: bytes, tmp_path: Path) -> None:
    """It is named with what to do, and the next decision does not write over it."""
    (tmp_path / "verdicts.json").write_bytes(content)

    with pytest.raises(ManifestError, match=r"verdicts\.json .*decide again"):
        read_verdicts(tmp_path)
    with pytest.raises(ManifestError):
        add_verdict(tmp_path, "P1", verdict())

    assert (tmp_path / "verdicts.json").read_bytes() == content


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """Nobody knows who put it there."""
    (tmp_path / "other").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "verdicts.json").symlink_to(tmp_path / "other")

    with pytest.raises(UnsafePathError):
        add_verdict(tmp_path / "out", "P1", verdict())

    assert (tmp_path / "other").read_text() == "mine"


def test_a_place_that_refuses_is_named(tmp_path: Path) -> None:
    """With what was done there."""
    with pytest.raises(OutputPlaceError, match="writing what was decided"):
        add_verdict(tmp_path / "missing", "P1", verdict())


def test_a_verification_knows_the_file(tmp_path: Path) -> None:
    """It is no foreign file; one beside it is."""
    output = prepared(str(tmp_path / "out"))
    published(output, "A01", seed=1, rows=3)
    folder = Path(output.address)
    add_verdict(folder, "P1", verdict())
    (folder / "verdicts.json.bak").write_text(os.linesep)

    assert verify(folder).foreign == ("verdicts.json.bak",)
