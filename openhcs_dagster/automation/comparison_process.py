"""The process that compares plates with their plans.

``python -m openhcs_dagster.automation.comparison_process DESCRIPTOR WAY`` starts it.

Pipelines of several labs would clash in one process (two modules called ``pipelines``), and a broken one may do
anything when it is imported. But a process that starts from nothing takes far longer to import this product than to
compare a plate. So this one imports the product, and no pipeline. For each pipeline it makes a child, which imports the
pipeline anew and compares one plate after another with it; what such a child does not find current is asked of a new
one before it counts.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Final, NoReturn

import msgspec

from openhcs_dagster.automation.staleness import FORK, Answer, Question, compare, pipeline_key
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.files.processes import signal_name

_CHILD: Final = "child"
_SHARED: Final = (
    "defusedxml.ElementTree",
    "openhcs_dagster.plate.compilation",
    "openhcs_engine.microscopes.plate_listing",
    "openhcs_engine.compiler",
    "openhcs_engine.functions",
    "openhcs_engine.memory.packages",
    "openhcs_engine.output.current",
    "openhcs_engine.output.folder.output",
    "openhcs_engine.pipeline.load",
)
"""What a forked child has from this process: what each plate's comparison imports, but for its pipeline."""
_IMPORTED: Final = b""
"""What a child says when its pipeline is imported."""
_LAST_S: Final = 1.0
"""How long a child that closed its pipe may take to end by itself, seconds."""


@dataclass(slots=True)
class _Child:
    """A process that knows one pipeline; the leader of a group, with which all that the pipeline started is ended."""

    key: tuple[str, ...]
    pid: int
    pipe: Connection[bytes, bytes]
    errors: IO[bytes]
    """Where its standard error goes."""
    answers: int = 0
    """Plates that it compared."""
    last_words: str = ""
    """The last line of its errors, when it has ended."""

    @classmethod
    def start(cls, key: tuple[str, ...], way: str, asker: Connection[bytes, bytes]) -> _Child:
        """Fork, or start Python anew."""
        ours, its = Pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 # closed at its end
        if way != FORK:
            pid = _start_anew(its, errors)
        elif (pid := os.fork()) == 0:
            asker.close()
            ours.close()
            _become_child(its, errors)
        its.close()
        with suppress(OSError):  # the child does the same; whoever is first
            os.setpgid(pid, pid)
        return cls(key, pid, ours, errors)

    def ask(self, question: Question, until: float, asker: Connection[bytes, bytes]) -> Answer:
        """Its answer, or why there is none; then it has ended. EOFError if nobody waits for the answer any more."""
        is_imported = self.answers > 0
        import_until = time.monotonic() + question.import_s
        with suppress(OSError):  # it is no more: nothing comes back
            self.pipe.send_bytes(msgspec.msgpack.encode(question))
        while True:
            limit = until if is_imported else min(until, import_until)
            ready = wait([self.pipe, asker], max(0.0, limit - time.monotonic()))
            if asker in ready:
                self.end()
                raise EOFError
            if not ready:
                self.end()
                return Answer(no_time=True) if limit == until else _hangs(question)
            try:
                message = self.pipe.recv_bytes()
                if message != _IMPORTED:
                    self.answers += 1
                    return msgspec.msgpack.decode(message, type=Answer)
            except (EOFError, OSError, msgspec.MsgspecError):
                return _ended(question, is_imported, self.end(_LAST_S), self.last_words)
            is_imported = True

    @property
    def has_ended(self) -> bool:
        """Whether another one is needed."""
        return self.pipe.closed

    def end(self, patience_s: float = 0.0) -> int:
        """End it, and what it started; its exit code, or minus the number of the signal that ended it."""
        self.pipe.close()
        until = time.monotonic() + patience_s
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        while not pid and time.monotonic() < until:
            time.sleep(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        if not pid:
            _, status = os.waitpid(self.pid, 0)
        with self.errors:
            self.last_words = _last_line(self.errors)
        return os.waitstatus_to_exitcode(status)


def main(descriptor: int, way: str) -> None:
    """Answer questions until nobody asks any more."""
    if way == FORK:
        for module in _SHARED:
            import_module(module)
        gc.freeze()  # the children share the pages of what lives now
    asker: Connection[bytes, bytes] = Connection(descriptor)
    child: _Child | None = None
    try:
        while True:
            question = msgspec.msgpack.decode(asker.recv_bytes(), type=Question)
            key, until = pipeline_key(question.entry), time.monotonic() + question.seconds
            if child is not None and not child.has_ended and child.key != key:
                child.end()
            if is_new := child is None or child.has_ended:
                child = _Child.start(key, way, asker)
            answer = child.ask(question, until, asker)
            if not (is_new or answer.is_current or answer.no_time):
                # The reason may be what the plates before left in the pipeline's modules, or an edit since.
                if not child.has_ended:
                    child.end()
                child = _Child.start(key, way, asker)
                again = child.ask(question, until, asker)
                answer = answer if again.no_time else again
            asker.send_bytes(msgspec.msgpack.encode(answer))
    except (EOFError, OSError):
        if child is not None and not child.has_ended:
            child.end()


def _start_anew(pipe: Connection[bytes, bytes], errors: IO[bytes]) -> int:
    os.set_inheritable(pipe.fileno(), True)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "openhcs_dagster.automation.comparison_process", str(pipe.fileno()), _CHILD],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, errors.fileno(), 2)],
        setpgroup=0,
    )


def _become_child(pipe: Connection[bytes, bytes], errors: IO[bytes]) -> NoReturn:
    os.setpgid(0, 0)
    os.dup2(errors.fileno(), 2)
    _compare_all(pipe)


def _compare_all(pipe: Connection[bytes, bytes]) -> NoReturn:
    """Answer until nobody asks any more. What the pipeline left running is not waited for."""
    os.set_inheritable(pipe.fileno(), False)
    os.register_at_fork(after_in_child=pipe.close)  # a process that a pipeline forks must not keep it open
    status = 1
    try:
        while True:
            question = msgspec.msgpack.decode(pipe.recv_bytes(), type=Question)
            pipe.send_bytes(msgspec.msgpack.encode(_answer(question, pipe)))
    except EOFError:
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _answer(question: Question, pipe: Connection[bytes, bytes]) -> Answer:
    try:
        return compare(question, lambda: pipe.send_bytes(_IMPORTED))
    except OpenHCSError as error:
        return Answer(error=str(error))
    except BaseException as error:  # a pipeline may raise anything
        return Answer(error=f"Its plan could not be made: {traceback.format_exception_only(error)[-1].strip()}.")


def _hangs(question: Question) -> Answer:
    return Answer(
        hangs=True,
        error=f"The import of its pipeline {question.entry.pipeline!r} did not end within {question.import_s:.0f} s; "
        f"take out of the module what runs for long or waits when it is imported (try: {_by_hand(question)}).",
    )


def _ended(question: Question, is_imported: bool, code: int, last_words: str) -> Answer:
    what = "it was compared with its plan" if is_imported else f"its pipeline {question.entry.pipeline!r} was imported"
    how = f"exit code {code}" if code >= 0 else f"signal {signal_name(-code) or -code}"
    return Answer(
        error=f"The process ended ({how}) while {what}; its last words: {last_words or 'none'}. "
        f"Find out why with: {_by_hand(question)}"
    )


def _by_hand(question: Question) -> str:
    """A command that imports a pipeline."""
    module = question.entry.pipeline.partition(":")[0]
    folders = os.pathsep.join(question.entry.search_path)
    return f"{f'PYTHONPATH={folders} ' if folders else ''}python -c 'import {module}'"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines: Sequence[str] = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


if __name__ == "__main__":
    if sys.argv[2] == _CHILD:
        _compare_all(Connection(int(sys.argv[1])))
    main(int(sys.argv[1]), sys.argv[2])
