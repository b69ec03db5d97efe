"""Wells in threads of this process."""

from __future__ import annotations

import os
import queue
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed

from openhcs_engine.execution.leases import libraries_named
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult
from openhcs_engine.execution.runners.contract import Finished, Runner, RunOrder, WellQueue
from openhcs_engine.execution.runners.well_watch import WellWatch
from openhcs_engine.execution.runners.worker_environment import load_libraries
from openhcs_engine.execution.well import run_well


class ThreadRunner(Runner):
    """Threads of this process: for functions that live only here, and for libraries that share a device's memory."""

    name = "threads"
    can_end_a_well = False

    def run(self, order: RunOrder) -> Generator[Finished, None, None]:
        """Yield every well once; wells not begun when the iterator is closed are dropped, begun ones finish."""
        if any(devices.gpu for devices in order.workers):
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver counts; CUDA: the fastest first
        load_libraries(libraries_named(order.contexts))
        waiting = WellQueue(order.contexts.values())
        free: queue.SimpleQueue[WorkerDevices] = queue.SimpleQueue()
        for devices in order.workers:
            free.put(devices)

        def run_one() -> WellResult:
            devices = free.get()
            try:
                context = waiting.take(devices.planned)
                assert context is not None  # there are as many calls as wells
                with watch.over(context.well, devices.label):
                    return run_well(context, order.functions, order.run_info(devices))
            finally:
                order.on_finished()
                free.put(devices)

        watch = WellWatch(order.patience)
        pool = ThreadPoolExecutor(max_workers=len(order.workers))
        try:
            futures = [pool.submit(run_one) for _ in order.contexts]
            for future in as_completed(futures):
                yield future.result(), ""
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            watch.close()
