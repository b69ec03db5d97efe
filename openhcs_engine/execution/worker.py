"""A worker process: gets contexts, runs wells, answers with results. Started by ``python -m``, never by fork."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from openhcs_engine.context import contexts_from_json
from openhcs_engine.execution.functions import FunctionSource
from openhcs_engine.execution.messages import Setup, Task, ToWorker, receive_task, send
from openhcs_engine.execution.well import WellPlace, run_well


def main(results_fd: int) -> None:
    """Serve until the run closes the pipe. Ctrl-C is the run's business: it decides what happens to its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    tasks = _listen(sys.stdin.buffer)
    with os.fdopen(results_fd, "wb") as results:
        setup = tasks.get()
        if isinstance(setup, Setup):
            sys.path[:] = setup.search_path
            _preload()
            _serve(tasks, results, setup)


def _listen(pipe: BinaryIO) -> queue.SimpleQueue[ToWorker]:
    """Read messages beside the work, so that the death of the run ends a busy worker, too."""
    messages: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()

    def read() -> None:
        while (message := receive_task(pipe)) is not None:
            messages.put(message)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return messages


def _preload() -> None:
    """Import what every well needs while the run still compiles."""
    for module in ("numpy", "tifffile", "openhcs_engine.output.well_writer"):
        with contextlib.suppress(ImportError):  # a missing one is reported by the first well
            __import__(module)


def _serve(tasks: queue.SimpleQueue[ToWorker], results: BinaryIO, setup: Setup) -> None:
    functions = FunctionSource()
    place = WellPlace(staging=Path(setup.staging), device=setup.device, plan=setup.plan)
    while True:
        task = tasks.get()
        assert isinstance(task, Task)
        (context,) = contexts_from_json(task.document).values()
        result = run_well(context, functions, place)
        sys.stdout.flush()
        sys.stderr.flush()
        send(results, result)


if __name__ == "__main__":
    main(int(sys.argv[1]))
