"""Several processes and killed ones on one place: nothing torn, nothing lost, no debris."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openhcs_engine.errors import MissingKeyError
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.unfinished import replace_path, sweep
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.disk import DiskBackend
from openhcs_engine.vfs.zarr import ZarrBackend

BACKENDS = pytest.mark.parametrize("make", [DiskBackend, ZarrBackend])
Make = type[DiskBackend] | type[ZarrBackend]
REPO = Path(__file__).resolve().parents[3]

WRITER = """
import sys
import numpy as np
from openhcs_engine.vfs.{module} import {name}
backend = {name}(sys.argv[1])
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(count):
    value = first + number % 50
    backend.save("well/stack", np.full((value % 3 + 1, 64, 100 + value), value, np.uint16))
    print(number, flush=True)
"""
"""Saves stacks of one value each, whose shape tells the value, again and again under one key."""

DYING = """
import os, signal, sys
import numpy as np
from pathlib import Path
from openhcs_engine.vfs.{module} import {name}
backend = {name}(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before":
    Path.replace = Path.rename = die
    import openhcs_engine.files.unfinished as unfinished
else:
    import openhcs_engine.files.local_store as store
    import openhcs_engine.files.unfinished as unfinished
    store.remove = unfinished.remove = die
backend.save("well/stack", np.full((2, 3, 4), 2, np.uint16))
die()
"""
"""Is killed between writing and renaming, or between renaming and clearing away the old value."""


def start(script: str, make: Make, *arguments: object) -> subprocess.Popen[str]:
    code = script.format(module=make.__module__.rpartition(".")[2], name=make.__name__)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)


def load_whole(backend: StorageBackend) -> int | None:
    """The value of the stack, after it was seen to be one of those that were saved, whole; None if there is none."""
    try:
        stack = backend.load("well/stack")
    except MissingKeyError:
        return None
    value = int(stack.flat[0])
    assert stack.shape == (value % 3 + 1, 64, 100 + value)
    assert (stack == value).all()
    return value


@pytest.mark.slow
@BACKENDS
def test_two_processes_write_one_key_while_a_third_reads_it(make: Make, tmp_path: Path) -> None:
    """Every load gives one of the saved stacks, whole, once there is one; at the end nothing else is there."""
    backend = make(tmp_path)
    backend.save("well/stack", np.full((2, 64, 101), 1, np.uint16))
    writers = [start(WRITER, make, tmp_path, first, 150) for first in (100, 200)]

    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(load_whole(backend))

    assert [writer.wait() for writer in writers] == [0, 0]
    assert None not in seen and len(seen) > 2
    assert load_whole(backend) in (149, 249)
    assert [path.name for path in (tmp_path / "well").iterdir()] == ["stack"]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()


@pytest.mark.slow
@BACKENDS
def test_a_writer_killed_at_any_time_leaves_a_whole_value(make: Make, tmp_path: Path) -> None:
    """Old or new; never listed debris, and a sweep removes all of it."""
    backend = make(tmp_path)
    for attempt in range(6):
        writer = start(WRITER, make, tmp_path, 100, 10**6)
        assert writer.stdout is not None
        for _ in range(attempt * 3 + 1):
            writer.stdout.readline()
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()

        assert load_whole(backend) is not None
        assert backend.list() == ("well/stack",)
    backend.sweep()
    assert [path.name for path in (tmp_path / "well").iterdir()] == ["stack"]


@pytest.mark.slow
@BACKENDS
@pytest.mark.parametrize(("instant", "value"), [("before", 1), ("after", 2)])
def test_the_debris_of_a_killed_writer_is_hidden_and_swept(
    make: Make, tmp_path: Path, instant: str, value: int
) -> None:
    """Killed before the rename: the old value; after it: the new one. Sweeping removes what is left of the other."""
    backend = make(tmp_path)
    backend.save("well/stack", np.full((2, 3, 4), 1, np.uint16))
    writer = start(DYING, make, tmp_path, instant)
    assert writer.wait() == -signal.SIGKILL
    assert writer.stdout is not None
    writer.stdout.close()

    assert backend.list() == ("well/stack",) and (backend.load("well/stack") == value).all()
    left = len(list((tmp_path / "well").iterdir())) - 1
    assert left == (0 if make is DiskBackend and instant == "after" else 1)
    assert backend.sweep() == left
    assert [path.name for path in (tmp_path / "well").iterdir()] == ["stack"]


@BACKENDS
def test_a_sweep_leaves_living_writers_alone(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being written is locked until it is in its place."""
    backend = make(tmp_path)
    swept: list[int] = []
    for name in ("rename", "replace"):
        original = getattr(Path, name)

        def sweep_first(place: Path, target: Path, original: object = original) -> object:
            swept.append(sweep(tmp_path))
            return original(place, target)  # type: ignore[operator] # Path's own method

        monkeypatch.setattr(Path, name, sweep_first)

    backend.save("well/stack", np.ones((2, 3, 4), np.uint16))

    assert swept and set(swept) == {0}
    assert backend.load("well/stack").sum() == 24


@BACKENDS
def test_debris_does_not_occupy_a_place(make: Make, tmp_path: Path) -> None:
    """A folder that holds nothing but what a killed writer left may become a key."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / ".tmp-dead").write_bytes(b"half")
    (tmp_path / "a" / ".tmp-folder").mkdir()
    backend = make(tmp_path)
    assert backend.list() == () and not backend.exists("a")

    backend.save("a", np.ones((2, 2), np.uint8))

    assert backend.list() == ("a",) and backend.load("a").sum() == 4


def test_a_folder_that_vanishes_under_a_writer_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting the last key of a folder removes it, perhaps just when another writes there."""
    made = os.open
    vanished = []

    def vanish(path: object, *arguments: object, **options: object) -> int:
        if not vanished:
            vanished.append(path)
            (tmp_path / "well").rmdir()
        return made(path, *arguments, **options)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(os, "open", vanish)
    write_whole(tmp_path / "well" / "a", b"1")
    assert vanished and (tmp_path / "well" / "a").read_bytes() == b"1"


def test_without_an_exchanging_rename_a_folder_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems have none: two renames, and nothing stays behind."""

    def unknown(first: Path, second: Path) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("openhcs_engine.files.unfinished._swap", unknown)
    backend = ZarrBackend(tmp_path)
    backend.save("a", np.ones((2, 2), np.uint8))
    backend.save("a", np.zeros((3, 2), np.uint8))
    backend.save_bytes("a", b"1")
    backend.save("a", np.ones((1, 2), np.uint8))
    assert backend.load("a").shape == (1, 2) and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_reader_sees_one_folder_even_if_it_is_replaced_meanwhile(tmp_path: Path) -> None:
    """The chunks of the old array are gone halfway through: the new one is read from its start."""
    backend = ZarrBackend(tmp_path)
    backend.save("a", np.full((2, 3, 4), 1, np.uint16))
    reads: list[str] = []

    def use(read: object) -> bytes:
        reads.append("start")
        first: bytes = read("c.0.0.0")  # type: ignore[operator] # a function
        if len(reads) == 1:
            backend.save("a", np.full((2, 3, 4), 2, np.uint16))
        second: bytes = read("c.1.0.0")  # type: ignore[operator] # a function
        assert first == second
        return first

    backend._store.read_folder("a", use)
    assert reads == ["start", "start"] and backend.load("a").max() == 2


def test_putting_in_place_keeps_other_errors(tmp_path: Path) -> None:
    """What is not there cannot be put anywhere."""
    with pytest.raises(FileNotFoundError):
        replace_path(tmp_path / "nothing", tmp_path / "a")
