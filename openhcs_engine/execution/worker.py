"""A worker process: gets contexts, runs wells, answers with results. Started by ``python -m``, never by fork."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import BinaryIO

from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.fitting import make_fit
from openhcs_engine.execution.messages import Setup, Task, ToWorker, receive_task, send, send_begun
from openhcs_engine.execution.runners.worker_environment import load_libraries
from openhcs_engine.execution.well import RunInfo, run_well
from openhcs_engine.memory.framework_environment import settle
from openhcs_engine.plan.document import contexts_from_json


def main(results_fd: int) -> None:
    """Serve until the run closes the pipe. Ctrl-C is the run's business: it decides what happens to its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    tasks = _listen(_take_stdin(results_fd))
    with os.fdopen(results_fd, "wb") as results:
        setup = tasks.get()
        if isinstance(setup, Setup):
            sys.path[:] = setup.search_path
            _preload()
            settle(load_libraries(setup.libraries))
            _serve(tasks, results, setup)


def _take_stdin(results_fd: int) -> BinaryIO:
    """The pipe of messages, out of reach of users' functions: input() finds an empty standard input, not the tasks.

    Processes that functions fork or start must not hold the pipes either: a dead worker is known by its closed pipe.
    """
    messages = os.dup(0)  # not inheritable
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.set_inheritable(results_fd, False)
    os.register_at_fork(after_in_child=partial(_close, messages, results_fd))
    return os.fdopen(messages, "rb")


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # the child may have closed all that it was born with
            os.close(descriptor)


def _listen(pipe: BinaryIO) -> queue.SimpleQueue[ToWorker]:
    """Read messages beside the work, so that the death of the run ends a busy worker, too."""
    messages: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()

    def read() -> None:
        while (message := receive_task(pipe)) is not None:
            messages.put(message)
        # The run is gone: so is, at once, all that functions started. The run made this process the group's leader.
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return messages


def _preload() -> None:
    """Import what every well needs while the run still compiles."""
    for module in ("numpy", "tifffile", "openhcs_engine.output.writing.well_writer"):
        with contextlib.suppress(ImportError):  # a missing one is reported by the first well
            __import__(module)


def _serve(tasks: queue.SimpleQueue[ToWorker], results: BinaryIO, setup: Setup) -> None:
    functions = FunctionSource()
    run = RunInfo(staging=Path(setup.staging), devices=setup.devices, plan=setup.plan)
    while True:
        task = tasks.get()
        assert isinstance(task, Task)
        send_begun(results)
        (context,) = contexts_from_json(task.document).values()
        result = make_fit(context, task.fit, functions) if task.fit else run_well(context, functions, run)
        with contextlib.suppress(ValueError, OSError):  # a function may have closed them
            sys.stdout.flush()
            sys.stderr.flush()
        send(results, result)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except BaseException:  # after this, the interpreter would wait for the listening thread and abort
        sys.excepthook(*sys.exc_info())
        os._exit(1)
