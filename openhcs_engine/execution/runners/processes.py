"""Wells in worker processes, started by ``python -m``, never by fork."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from openhcs_engine.errors import ExecutionError, WellTimeoutError, WorkerDiedError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.fitting import FitResult
from openhcs_engine.execution.leases import libraries_named, libraries_of_calls
from openhcs_engine.execution.messages import Setup, Task, receive_result, send
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.execution.runners.contract import Finished, Runner, RunOrder, WellQueue
from openhcs_engine.execution.runners.well_watch import WellWatch
from openhcs_engine.execution.runners.worker_environment import environment_of, search_path
from openhcs_engine.execution.well import RunInfo
from openhcs_engine.files.processes import signal_name
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.quantities.durations import format_duration
from openhcs_engine.model.system_errors import explained
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_to_json


class ProcessRunner(Runner):
    """Worker processes, each started fresh; a worker that dies fails the well it held and is replaced."""

    name = "processes"

    def fit(self, context: ProcessingContext, name: str, functions: FunctionSource) -> FitResult:
        """Fit one plate step in a worker process of its own."""
        plan = next(each for each in context.fits if each.name == name)
        info = RunInfo(staging=Path(tempfile.gettempdir()), devices=WorkerDevices())
        try:
            worker = _Worker(info, libraries_of_calls([plan.step.call]))
        except OSError as error:
            reason = f"plate step {name!r}: no worker process could be started ({explained(error)}); run it again."
            return FitResult(name=name, error=reason, error_type=type(error).__name__)
        try:
            result = worker.fit(context, name)
            if result is None:
                reason = (
                    f"plate step {name!r}: the worker process {worker.how_it_died()} while it was fitted; if the "
                    "system ran out of memory, fit it on fewer images at a time."
                )
                result = FitResult(name=name, error=reason, error_type=WorkerDiedError.__name__)
            return result
        finally:
            worker.kill()

    def run(self, order: RunOrder) -> Generator[Finished, None, None]:
        """Yield every well once; closing the iterator kills the workers, whatever they do."""
        crew = _Crew(order)
        try:
            yield from crew.results()
        finally:
            crew.kill()


class _Crew:
    """The worker processes of one run, each looked after by a thread."""

    def __init__(self, order: RunOrder) -> None:
        self.order = order
        self.waiting = WellQueue(order.contexts.values())
        self.libraries = libraries_named(order.contexts)
        self.finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self.stopping = threading.Event()
        self.workers: dict[int, _Worker] = {}
        self.keepers: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.watch = WellWatch(order.patience)

    def results(self) -> Iterator[Finished]:
        """Start the workers and yield their results."""
        for slot, devices in enumerate(self.order.workers[: len(self.order.contexts)]):
            keeper = threading.Thread(target=self._look_after, args=(slot, devices), daemon=True)
            self.keepers.append(keeper)
            keeper.start()
        for _ in self.order.contexts:
            yield self.finished.get()

    def kill(self) -> None:
        """End all workers now and wait until they are gone."""
        with self.lock:
            self.stopping.set()
            workers = list(self.workers.values())
        for worker in workers:
            worker.end()
        for keeper in self.keepers:  # each reads what its worker left before the files are closed
            keeper.join()
        for worker in workers:
            worker.kill()
        self.watch.close()

    def _look_after(self, slot: int, devices: WorkerDevices) -> None:
        """Hand wells to one worker; replace it if it dies, or holds a well too long."""
        while not self.stopping.is_set():
            context = self.waiting.take(devices.planned)
            if context is None:
                return
            try:
                worker = self._worker(slot, devices)
            except OSError as error:  # no memory, no descriptors: every well must still get its result
                self.finished.put(_not_started(context, devices.label, error))
                continue
            if worker is None:
                return
            with self.watch.over(context.well, devices.label, worker.end) as watched:
                finished = worker.run(context, partial(self.watch.begin, watched))
            self.order.on_finished()
            if self.stopping.is_set():
                return
            if watched.ended:
                # It may have answered in the moment it was ended: then its answer counts, but it takes no more wells.
                self.finished.put(self._ended(slot, context, finished))
            else:
                self.finished.put(finished or self._died(slot, context))

    def _worker(self, slot: int, devices: WorkerDevices) -> _Worker | None:
        with self.lock:
            if self.stopping.is_set():
                return None
            if slot not in self.workers:
                self.workers[slot] = _Worker(self.order.run_info(devices), self.libraries)
            return self.workers[slot]

    def _ended(self, slot: int, context: ProcessingContext, finished: Finished | None) -> Finished:
        worker, _, printed = self._dismiss(slot)
        limit_s = self.order.patience.limit_s or 0.0
        error = WellTimeoutError(
            f"Well {context.well}: it was not done after {format_duration(limit_s)}, the limit for a well "
            "(--well-timeout), and its worker process was ended. The other wells are not affected; see what its "
            "functions wait for, or allow more time.",
            well=context.well,
            limit_s=limit_s,
        )
        return finished or (_failed(context, worker.device, error), printed)

    def _dismiss(self, slot: int) -> tuple[_Worker, str, str]:
        """Take a worker out of the crew that is dead or shall be; also how it died and what it had printed."""
        with self.lock:
            worker = self.workers.pop(slot)
        how, printed = worker.how_it_died(), worker.printed()
        worker.kill()
        return worker, how, printed

    def _died(self, slot: int, context: ProcessingContext) -> Finished:
        worker, how, printed = self._dismiss(slot)
        error = WorkerDiedError(
            f"Well {context.well}: the worker process {how} while it held this well. The other wells are not affected; "
            "if the system ran out of memory, run with fewer workers, or keep intermediates on disk.",
            well=context.well,
        )
        return _failed(context, worker.device, error), printed


def _failed(context: ProcessingContext, device: str, error: ExecutionError) -> WellResult:
    """The result of a well whose worker gave none."""
    return WellResult(
        well=context.well,
        status=WellStatus.FAILED,
        fingerprint=context.fingerprint,
        error=str(error),
        error_type=type(error).__name__,
        device=device,
    )


def _not_started(context: ProcessingContext, device: str, error: OSError) -> Finished:
    reason = WorkerDiedError(
        f"Well {context.well}: no worker process could be started ({explained(error)}); run with fewer workers.",
        well=context.well,
    )
    return _failed(context, device, reason), ""


class _Worker:
    """One worker process and the pipes to it."""

    def __init__(self, run: RunInfo, libraries: tuple[MemoryType, ...]) -> None:
        self.device = run.devices.label
        self._read_to = 0
        # Not a pipe: a function may print more than a pipe holds while nobody reads.
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 # lives as long as the worker; kill() closes it
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openhcs_engine.execution.worker", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            pass_fds=(write_end,),
            process_group=0,  # so that what a function starts ends with its worker
            env=environment_of(run.devices, libraries),
        )
        os.close(write_end)
        self._results: BinaryIO = os.fdopen(read_end, "rb")
        self._send(
            Setup(
                search_path=search_path(),
                staging=str(run.staging),
                devices=replace(run.devices, gpu_here="gpu:0"),  # the only one that it sees
                libraries=libraries,
                plan=run.plan,
            )
        )

    def run(self, context: ProcessingContext, on_begun: Callable[[], None]) -> Finished | None:
        """The result of one well; None if the worker died over it. ``on_begun`` is called when it begins."""
        if not self._send(Task(document=contexts_to_json({context.well: context}))):
            return None
        result = receive_result(self._results, on_begun, WellResult)
        return None if result is None else (result, self.printed())

    def fit(self, context: ProcessingContext, name: str) -> FitResult | None:
        """What became of a fit; None if the worker died over it."""
        if not self._send(Task(document=contexts_to_json({context.well: context}), fit=name)):
            return None
        return receive_result(self._results, lambda: None, FitResult)

    def _send(self, message: Setup | Task) -> bool:
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, message)
        except OSError:
            return False
        return True

    def printed(self) -> str:
        """What was printed since this was asked last. Read by position: the worker writes through the same file."""
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), size - self._read_to, self._read_to)
        self._read_to = size
        return text.decode("utf-8", "replace")

    def how_it_died(self) -> str:
        """How the process ended, after its pipe broke; it is killed if it does not end by itself."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code >= 0:
            return f"ended with code {code}"
        name = signal_name(-code)
        return f"was killed by signal {-code} ({name})" if name else f"was killed by signal {-code}"

    def end(self) -> None:
        """End the process and all that it started now, whatever they do; who waits for its answer gets none."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process and all that it started now, whatever they do, and close the pipes."""
        self.end()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._results):
            with contextlib.suppress(OSError):  # what was not yet sent has no reader left
                if pipe is not None:
                    pipe.close()
        self._output.close()
