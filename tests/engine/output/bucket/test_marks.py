"""Marks: one writer a well, however many want to write, and however they die."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace

import pytest

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.processes import Writer, this_host
from openhcs_engine.output.bucket import write_lock as marks
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.bucket.write_lock import PATIENCE_S, Mark, hold, is_dead, read_marks


@pytest.fixture
def bucket() -> Bucket:
    """An empty place."""
    return Bucket(f"memory://marks/{uuid.uuid4().hex}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long between two looks."""
    monkeypatch.setattr(marks, "_POLL_S", 0.001)


def gone() -> Writer:
    """A process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    writer = replace(Writer.here(), pid=process.pid, started="1")
    process.wait()
    return writer


def put(bucket: Bucket, writer: Writer, what: str = "A01", name: str = "0") -> str:
    """The mark of a writer, as it would be left behind."""
    path = f".publishing/{what}/{name}.json"
    bucket.put(path, marks._ENCODER.encode(replace(Mark.of(what, "run"), writer=writer)))
    return path


def test_of_many_writers_one_writes(bucket: Bucket) -> None:
    """They come at the same time, and each gets its turn; no mark is left."""
    inside, most, turns = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        for _ in range(5):
            with hold(bucket, "A01"):
                with guard:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                with guard:
                    inside[0] -= 1
                    turns[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (most[0], turns[0]) == (1, 20)
    assert bucket.objects() == {}


def test_writers_of_different_wells_do_not_wait(bucket: Bucket) -> None:
    """Nor does one that writes files of the whole plate."""
    with hold(bucket, "A01"), hold(bucket, "A02"), hold(bucket, marks.PLATE):
        assert len(read_marks(bucket, bucket.objects())) == 3


def test_a_dead_writer_of_this_host_is_known_at_once(bucket: Bucket) -> None:
    """Whoever comes next gets its mark to settle it."""
    path = put(bucket, gone())
    with hold(bucket, "A01") as held:
        assert [found for found, _ in held.dead] == [path]


def test_a_process_that_took_over_a_number_is_another(bucket: Bucket) -> None:
    """A process is told by when it started, too."""
    assert not Writer.here().has_ended
    assert replace(Writer.here(), started="1").has_ended


def test_a_process_that_waits_to_be_collected_is_dead() -> None:
    """Its number is still taken, but it will never write again."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from openhcs_engine.files.processes import _started

    writer = replace(Writer.here(), pid=process.pid, started=_started(process.pid) or "")
    assert not writer.has_ended
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not collected
    assert writer.has_ended
    process.communicate()


def test_a_writer_of_another_host_is_dead_when_it_was_silent_for_long() -> None:
    """Nobody here can see its process; its mark says that it lives."""
    mark = replace(Mark.of("A01", "run"), writer=replace(gone(), host="another/host"))
    assert not mark.writer.has_ended
    assert not is_dead(mark, PATIENCE_S - 1)
    assert is_dead(mark, PATIENCE_S + 1)
    assert this_host() != "another/host"


def test_a_living_writer_of_this_host_that_fell_silent_is_dead(bucket: Bucket) -> None:
    """Otherwise a thread that failed would keep its well for ever."""
    mark = Mark.of("A01", "run")
    assert not is_dead(mark, PATIENCE_S - 1)
    assert is_dead(mark, PATIENCE_S + 1)


def test_the_others_age_is_told_by_the_store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the times of both marks, not by the clocks of hosts."""
    path = put(bucket, replace(gone(), host="another/host"))
    monkeypatch.setattr(marks, "PATIENCE_S", -1e9)
    with hold(bucket, "A01") as held:
        assert [found for found, _ in held.dead] == [path]


def test_a_writer_that_was_taken_for_dead_writes_no_more(bucket: Bucket) -> None:
    """It finds its mark gone before the next step that decides, and does not put it again."""
    with (
        pytest.raises(
            OutputPlaceError, match="or was removed, by another run that took this one for dead or by somebody"
        ),
        hold(bucket, "A01") as held,
    ):
        held.check()
        bucket.remove([held.path])
        held.check()
    assert bucket.objects() == {}


def test_a_writer_whose_mark_cannot_be_renewed_stops(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before others may take it for dead."""
    with pytest.raises(OutputPlaceError, match="could not be renewed"), hold(bucket, "A01") as held:
        now = marks.seconds_awake()
        monkeypatch.setattr(marks, "seconds_awake", lambda: now + PATIENCE_S / 2 + 1)
        held.check()


def test_marks_are_renewed_while_their_writer_works(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time the store's time of them is newer; the last renewal leaves nothing behind."""
    monkeypatch.setattr(marks, "BEAT_S", 0.001)
    with hold(bucket, "A01") as held:
        first = bucket.objects()[held.path].changed_ns
        while bucket.objects()[held.path].changed_ns == first:
            time.sleep(0.001)
    assert bucket.objects() == {}


def test_no_renewal_comes_after_the_release(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it was on its way: the mark would stay as long as its process lives."""
    monkeypatch.setattr(marks, "BEAT_S", 0.0)
    for _ in range(20):
        with suppress(ZeroDivisionError), hold(bucket, "A01") as held:
            held.release()
            _ = 1 / 0
        assert bucket.objects() == {}


def test_after_an_error_the_mark_stays(bucket: Bucket) -> None:
    """What was begun must be settled first, by whoever releases or finds it."""
    with pytest.raises(ZeroDivisionError), hold(bucket, "A01"):
        _ = 1 / 0
    assert len(bucket.objects()) == 1
