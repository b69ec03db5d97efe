"""Who writes which well of an output in an object store at this moment: one object a writer, ``.publishing/<what>/``.

Stores cannot lock. But a listing shows all that was put before it, so of two writers that put their marks and list
then, at least one sees the other. A writer that finds no living mark but its own may write; of several that see each
other, the one that came first waits and the others withdraw. Names are never used twice, so to remove a dead writer's
mark cannot hit another's.

Notes
-----
One object of a fixed name that only one writer can create (``pipe_file(..., mode="create")``, S3's ``If-None-Match``)
was tried instead, with fsspec and s3fs 2026.9.0 and moto 5.2.5, and does not hold:

- moto and ``memory://`` look first and put then, with no lock between. Two processes at one moto server whose threads
  take turns often (``sys.setswitchinterval(1e-6)``) both created 6 of 400 names, two threads in ``memory://`` 13 of
  600; with Python's usual 5 ms none, so that a test seems to show it. Marks let nobody in twice there. fsspec's
  default of ``pipe_file`` is not atomic either, and a server that does not know the header replaces the object.
- A lost writer's object must be removed before another can be created. Of two that found it dead, the second removes
  the first one's new object, and both write; a renewal replaces it alike. ``rm_file(IfMatch=...)`` of s3fs drops the
  condition and removes; only ``call_s3`` sends it, and ``memory://`` ignores it.
- s3fs repeats a request whose answer was lost, and gets ``FileExistsError`` for the object that it made itself.
- What undoes a dead writer's work, its age by the store's own clock, and the renewal are needed in any case; creation,
  removal and renewal under conditions took 63 statements in place of the 35 that put, list and wait here.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

import msgspec

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.processes import Writer, seconds_awake
from openhcs_engine.output.bucket.objects import Bucket
from openhcs_engine.output.layout import PUBLISHING
from openhcs_engine.output.listing import PresentFile

PATIENCE_S: Final = 300.0
"""A mark that was not renewed for so long is a dead writer's, whatever host it is of."""
BEAT_S: Final = 20.0
"""How often a writer renews its mark."""
_POLL_S: Final = 0.2
PLATE: Final = "plate"
"""Stands for a well's name where files of the whole plate are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a writer says of itself, and what must be known to undo what it began."""

    token: str
    """Part of the names of all objects that it puts."""
    what: str
    """The well, or ``plate``."""
    writer: Writer
    run: str = ""
    since: str
    """ISO time, UTC; for people."""
    places: tuple[str, ...] = ()
    """Folders and files, relative to the output, in which it may leave something."""
    groups: tuple[tuple[str, str], ...] = ()
    """Paths and contents of groups as they were before it."""

    @classmethod
    def of(cls, what: str, run: str) -> Self:
        """A new writer's."""
        return cls(
            token=f"v{secrets.token_hex(5)}f",
            what=what,
            writer=Writer.here(),
            run=run,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class Held:
    """The right to write one well, as long as the mark is renewed."""

    def __init__(self, bucket: Bucket, mark: Mark) -> None:
        self.bucket = bucket
        self.mark = mark
        # Of two that wait, the first came first; sorts as the time does.
        self.path = f"{PUBLISHING}/{mark.what}/{time.time_ns():020d}-{mark.token}.json"
        self.dead: list[tuple[str, Mark | None]] = []
        """Marks of dead writers, to be settled before anything is written."""
        self._renewed = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"renew the mark of {mark.what}", daemon=True)

    def note(self, places: tuple[str, ...], groups: tuple[tuple[str, str], ...]) -> None:
        """Say what will be written, before it is."""
        with self._lock:
            self.mark = replace(self.mark, places=places, groups=groups)
        self.put()

    def put(self) -> None:
        """Put the mark, or renew it."""
        before = seconds_awake()
        with self._lock:
            self.bucket.put(self.path, _ENCODER.encode(self.mark))
        self._renewed = before

    def keep(self) -> None:
        """Renew the mark if it is time."""
        if seconds_awake() - self._renewed > BEAT_S:
            self.put()

    @property
    def is_mine(self) -> bool:
        """False if others may believe that this writer is dead."""
        return seconds_awake() - self._renewed < PATIENCE_S / 2 and self.bucket.exists(self.path)

    def check(self) -> None:
        """OutputPlaceError if it is not mine any more; asked before each step that decides."""
        if self.is_mine:
            return
        raise OutputPlaceError(
            f"{self.mark.what}: the mark {self.path} in {self.bucket.url} could not be renewed for {PATIENCE_S:.0f} s, "
            "or was removed, by another run that took this one for dead or by somebody who removed files there. "
            "Nothing was published; run it again.",
            path=self.bucket.url,
        )

    def release(self) -> None:
        """Let others write; what was begun is finished or undone."""
        self.stop()  # first: a mark that is renewed after its release would stay for ever
        self.bucket.remove([self.path])

    def start(self) -> None:
        """Renew the mark from time to time, until it is released."""
        self._beating.start()

    def stop(self) -> None:
        """Renew the mark no more."""
        self._ended.set()
        if self._beating.is_alive():
            self._beating.join()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OutputPlaceError):  # the next time; ``check`` tells when it is too late
                if not self.bucket.exists(self.path):
                    return  # it was taken for dead; to put it again would block the well
                self.put()


@contextmanager
def hold(bucket: Bucket, what: str, run: str = "") -> Iterator[Held]:
    """Wait until nobody else writes a well, and keep others from it; ``dead`` marks are the caller's to settle.

    After an error the mark stays, unless it was released: what was begun must be settled by who finds it dead.
    """
    held = _enter(bucket, what, run)
    held.start()
    try:
        yield held
    finally:
        held.stop()
    held.release()


def read_marks(bucket: Bucket, found: Mapping[str, PresentFile]) -> dict[str, Mark | None]:
    """The marks among an output's objects, by path; None for one that cannot be read."""
    paths = [path for path in sorted(found) if path.startswith(f"{PUBLISHING}/")]
    contents = ((path, bucket.read_or_none(path)) for path in paths)
    return {path: _decoded(content) for path, content in contents if content is not None}


def is_dead(mark: Mark | None, age_s: float) -> bool:
    """True if a mark's writer has ended, or has not renewed it for ``PATIENCE_S``."""
    return age_s > PATIENCE_S or (mark is not None and mark.writer.has_ended)


def _enter(bucket: Bucket, what: str, run: str) -> Held:
    """Put marks until one of them may write."""
    for pause in _pauses():
        held = Held(bucket, Mark.of(what, run))
        try:
            if _is_granted(held):
                return held
        except BaseException:
            with suppress(OutputPlaceError):  # the store is gone; the error that is on its way says so
                held.release()
            raise
        held.release()
        time.sleep(pause * (1 + random.random()))
    raise AssertionError("there is always another pause")


def _is_granted(held: Held) -> bool:
    """True once no other living writer is there; False if others came first, or took this one for dead."""
    held.put()
    for pause in _pauses():
        living = _others(held)
        if not living:
            return living is not None
        if living[0] < held.path:
            return False
        time.sleep(pause)
        held.keep()
    return False


def _others(held: Held) -> list[str] | None:
    """Marks of other living writers, in the order in which they came; None if one's own is gone."""
    found = held.bucket.objects(f"{PUBLISHING}/{held.mark.what}")
    own = found.pop(held.path, None)
    if own is None:
        return None
    marks = read_marks(held.bucket, found)
    # Both times are the store's own: no clock of a host is trusted.
    ages = {path: (own.changed_ns - found[path].changed_ns) / 1e9 for path in marks}
    held.dead = [(path, mark) for path, mark in marks.items() if is_dead(mark, ages[path])]
    return sorted(marks.keys() - {path for path, _ in held.dead})


def _pauses() -> Iterator[float]:
    """Seconds between two looks, longer and longer."""
    yield from (_POLL_S * 1.5**number for number in range(6))
    while True:
        yield _POLL_S * 10


def _decoded(content: bytes) -> Mark | None:
    try:
        return _DECODER.decode(content)
    except msgspec.MsgspecError:
        return None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Mark)

__all__ = ["PATIENCE_S", "PLATE", "Held", "Mark", "hold", "is_dead", "read_marks"]
