"""Which worker runs what: leased GPUs, wells on the GPU of their plan, and no library that nobody asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import pytest

from openhcs_engine import FunctionStep, Pipeline, PipelineOrchestrator
from openhcs_engine.errors import DeviceUnavailableError
from openhcs_engine.execution import execute_wells
from openhcs_engine.execution.leases import RunDevices, held_gpus
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.execution.runners.contract import WellQueue
from openhcs_engine.execution.runners.registry import RUNNERS
from openhcs_engine.execution.runners.worker_environment import environment_of
from openhcs_engine.memory import torch as torch_function
from openhcs_engine.memory.devices import Device, DevicePolicy, DevicePool
from openhcs_engine.memory.stack import Array
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.plan.context import ProcessingContext
from tests.paper_gpus import PaperGpus

runners = pytest.mark.parametrize("runner", list(RUNNERS))


def note_where(stack: Array) -> Array:
    """Writes down which GPU its process may see, and when it was busy."""
    started = monotonic_ns()
    stack = stack + stack.min()
    told = [os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid(), started, monotonic_ns()]
    with (Path(os.environ["OPENHCS_TEST_NOTES"])).open("a") as notes:
        notes.write(json.dumps(told) + "\n")
    return stack


def note_modules(stack: Array) -> Array:
    """Writes down which array libraries its process has loaded."""
    known = {"torch", "tensorflow", "jax", "cupy", "pyclesperanto", "numba"}
    Path(os.environ["OPENHCS_TEST_NOTES"]).write_text(json.dumps(sorted(known & set(sys.modules))))
    return stack


@torch_function
def note_modules_torch(stack: Array) -> Array:
    """The same, declared for torch."""
    return note_modules(stack)


@torch_function
def same(stack: Array) -> Array:
    """Its stack."""
    return stack


def compiled(
    plate: Path, output: Path, function: object, devices: Mapping[str, str] | str = "gpu:0"
) -> dict[str, ProcessingContext]:
    """Contexts of one step, planned on devices by hand: all wells on one, or each on its own."""
    orchestrator = PipelineOrchestrator(plate, output=output).initialize()
    contexts = orchestrator.compile_pipelines(Pipeline([FunctionStep(function)]))  # type: ignore[arg-type]
    planned = dict.fromkeys(contexts, devices) if isinstance(devices, str) else devices
    return {well: replace(context, devices=(planned[well],)) for well, context in contexts.items()}


def pool(folder: Path, count: int, slots: int = 1) -> DevicePool:
    """Lends paper GPUs."""
    return DevicePool(PaperGpus(count), folder / "leases", slots)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where functions write down what they saw; workers inherit its place."""
    monkeypatch.setenv("OPENHCS_TEST_NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


def test_each_worker_sees_the_gpu_it_holds_and_no_other(small_plate: Path, tmp_path: Path, notes: Path) -> None:
    """Four workers are wanted, two GPUs are there: two workers, one GPU each, and all wells are done."""
    contexts = compiled(small_plate, tmp_path, note_where)

    results = list(execute_wells(contexts, workers=4, pool=pool(tmp_path, 2)))

    told = [json.loads(line) for line in notes.read_text().splitlines()]
    assert [result.status for result in results] == [WellStatus.DONE] * 6
    gpu_of_process = {process: gpu for gpu, process, _, _ in told}
    assert len(gpu_of_process) == len({(process, gpu) for gpu, process, _, _ in told}) <= 2
    assert set(gpu_of_process.values()) <= {"GPU-paper-0", "GPU-paper-1"}
    assert len(set(gpu_of_process.values())) == len(gpu_of_process)
    with pool(tmp_path, 2).lease(2, "gpu", timeout_s=0) as free_again:
        assert len(free_again) == 2


def test_four_holders_of_two_gpus_never_share_a_slot(tmp_path: Path) -> None:
    """Threads that lease again and again: at no moment does a slot have two holders."""
    lender, busy, most, lock = pool(tmp_path, 2), dict[str, int](), dict[str, int](), threading.Lock()

    def work() -> None:
        for _ in range(25):
            with lender.lease(1, "gpu", timeout_s=60) as (device,):
                with lock:
                    busy[device.uuid] = busy.get(device.uuid, 0) + 1
                    most[device.uuid] = max(most.get(device.uuid, 0), busy[device.uuid])
                with lock:
                    busy[device.uuid] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most["GPU-paper-0"] == 1 and set(most.values()) == {1}


def test_slots_let_several_workers_share_a_gpu(tmp_path: Path) -> None:
    """First one slot of each GPU, then the second ones; one more is one too many."""
    lender = pool(tmp_path, 2, slots=2)

    with lender.lease(3, "gpu") as held, lender.lease(3, "gpu", timeout_s=0) as rest:
        assert [device.label for device in held] == ["gpu:0", "gpu:1", "gpu:0"]
        assert [device.label for device in rest] == ["gpu:1"]
        with pytest.raises(DeviceUnavailableError, match=f"held by the processes {os.getpid()}"):
            lender.lease(1, "gpu", timeout_s=0).__enter__()
    with pytest.raises(ValueError, match="slots=0"):
        pool(tmp_path, 1, slots=0)


HOLDER = """
import sys, time
from pathlib import Path
from openhcs_engine.memory.devices import DevicePool
from tests.engine.execution.test_device_run import PaperGpus

with DevicePool(PaperGpus(2), Path(sys.argv[1]), 2).lease(4, "gpu") as held:
    print(len(held), flush=True)
    sys.stdin.readline()
"""


def test_a_killed_holders_gpus_are_free_again(tmp_path: Path) -> None:
    """Its four slots were taken while it lived; after kill -9 the next run gets all of them."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "leases")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "4"
        with pytest.raises(DeviceUnavailableError, match=str(holder.pid)):
            pool(tmp_path, 2, slots=2).lease(1, "gpu", timeout_s=0).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    with pool(tmp_path, 2, slots=2).lease(4, "gpu", timeout_s=5) as held:
        assert len(held) == 4


@runners
def test_without_a_gpu_the_cpu_runs_the_plan_and_says_so(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """Device and fallback are in the step's result, with the inventory's own words, in the manifest and in the log."""
    contexts = compiled(small_plate, tmp_path, same)

    results = list(execute_wells(contexts, runner=runner, workers=1, pool=pool(tmp_path, 0)))

    (step,) = results[0].steps
    assert (step.device, results[0].device) == ("cpu:0", "cpu:0")
    assert "ran on the CPU, because there was no GPU (No GPU: the paper is blank)." in str(step.fallback)
    manifest = json.loads((tmp_path / "small" / "wells" / "A01.json").read_text())
    assert manifest["provenance"]["steps"][0]["fallback"] == step.fallback
    log = next((tmp_path / "small" / "logs").iterdir()).read_text()
    assert (
        "fallback: tests.engine.execution.test_device_run:same ran on the CPU" in log and "    numpy -> torch: " in log
    )


@runners
def test_a_required_gpu_that_is_not_there_refuses_the_run(small_plate: Path, tmp_path: Path, runner: str) -> None:
    """Before the first well."""
    contexts = compiled(small_plate, tmp_path, same)

    with pytest.raises(DeviceUnavailableError, match="the paper is blank"):
        next(execute_wells(contexts, runner=runner, policy="gpu_required", pool=pool(tmp_path, 0)))
    assert not list((tmp_path / "small").glob("wells/*.json"))


def test_a_gpu_that_another_run_holds_is_waited_for_in_vain(small_plate: Path, tmp_path: Path) -> None:
    """Under ``gpu_required`` the refusal names its holder; under ``auto`` the CPU runs the plan."""
    contexts, lender = compiled(small_plate, tmp_path, same), pool(tmp_path, 1)

    with lender.lease(1, "gpu"):
        with pytest.raises(DeviceUnavailableError, match=f"held by the processes {os.getpid()}"):
            list(execute_wells(contexts, policy=DevicePolicy.GPU_REQUIRED, pool=lender, patience_s=0))
        results = list(execute_wells(contexts, runner="threads", workers=1, pool=lender, patience_s=0))

    assert all("came free within 0 s" in str(result.steps[0].fallback) for result in results)


def test_a_finished_plate_needs_no_gpu(small_plate: Path, tmp_path: Path) -> None:
    """Wells that are not computed again lease nothing."""
    contexts = compiled(small_plate, tmp_path, same)
    list(execute_wells(contexts, runner="threads", workers=1, pool=pool(tmp_path, 0)))

    again = list(execute_wells(contexts, policy="gpu_required", pool=pool(tmp_path, 0)))

    assert {result.status for result in again} == {WellStatus.UNCHANGED}


def test_wells_go_to_the_gpu_of_their_plan_until_a_worker_would_be_idle(small_plate: Path, tmp_path: Path) -> None:
    """Own wells first, in order; then those of others."""
    planned = {"A01": "gpu:0", "A02": "gpu:1", "A03": "gpu:1", "B01": "gpu:1", "B02": "gpu:0", "B03": "cpu"}
    waiting = WellQueue(compiled(small_plate, tmp_path, same, planned).values())

    taken = [_name(waiting.take("gpu:0")) for _ in range(3)]
    taken += [_name(waiting.take("gpu:1")) for _ in range(4)]

    assert taken == ["A01", "B02", "A02", "A03", "B01", "B03", None]


def _name(context: ProcessingContext | None) -> str | None:
    return context and context.well


def workers_of(staffing: RunDevices, contexts: Mapping[str, ProcessingContext]) -> Sequence[WorkerDevices]:
    """The workers, asked and dismissed."""
    with staffing.workers(contexts) as workers:
        return workers


def test_real_gpus_stand_for_those_of_the_plan(small_plate: Path, tmp_path: Path) -> None:
    """By their own number where the plan names it; otherwise for what is left."""
    planned = dict(zip(["A01", "A02", "A03", "B01", "B02", "B03"], ["gpu:0", "gpu:1"] * 3, strict=True))
    contexts = compiled(small_plate, tmp_path, same, planned)
    lender = pool(tmp_path, 3)
    cpus = ("cpu:0", "cpu:1", "cpu:2")

    free = workers_of(RunDevices(cpus=cpus, pool=lender), contexts)
    with lender.lease(1, "gpu"):  # gpu:0 is somebody else's
        rest = workers_of(RunDevices(cpus=cpus, pool=lender), contexts)
    held = workers_of(RunDevices(cpus=cpus, held=held_gpus(["gpu:2"], lender), pool=lender), contexts)

    assert [(worker.gpu, worker.planned) for worker in free] == [
        ("gpu:0", "gpu:0"),
        ("gpu:1", "gpu:1"),
        ("gpu:2", "gpu:0"),
    ]
    assert [(worker.gpu, worker.planned) for worker in rest] == [("gpu:1", "gpu:1"), ("gpu:2", "gpu:0")]
    assert [(worker.gpu, worker.gpu_uuid) for worker in held] == [("gpu:2", "GPU-paper-2")]


def test_plans_for_the_cpu_ask_for_no_gpu(small_plate: Path, tmp_path: Path) -> None:
    """The inventory is not even looked at."""

    class Untouchable:
        def devices(self) -> tuple[Device, ...]:
            raise AssertionError("asked for devices")

        def why_no_gpu(self) -> str | None:
            raise AssertionError("asked for a reason")

    contexts = compiled(small_plate, tmp_path, same, "cpu")
    workers = workers_of(RunDevices(cpus=("cpu:0",), pool=DevicePool(Untouchable(), tmp_path)), contexts)

    assert [(worker.cpu, worker.gpu) for worker in workers] == [("cpu:0", None)]


@pytest.mark.parametrize(("function", "loaded"), [(note_modules, []), (note_modules_torch, ["torch"])])
def test_a_worker_loads_what_its_plan_names_and_nothing_else(
    small_plate: Path, tmp_path: Path, notes: Path, function: object, loaded: list[str]
) -> None:
    """NumPy steps load no array library; a torch step loads torch alone."""
    results = list(execute_wells(compiled(small_plate, tmp_path, function, "cpu"), workers=1))

    assert all(result.success for result in results), results[0].error
    assert json.loads(notes.read_text()) == loaded


def test_workers_are_born_with_one_thread_and_the_gpu_they_hold() -> None:
    """What array libraries read when they are imported."""
    alone = environment_of(WorkerDevices(), (MemoryType.JAX,))
    with_gpu = environment_of(WorkerDevices(gpu="gpu:1", gpu_uuid="GPU-x"), (MemoryType.JAX,))

    assert alone["OMP_NUM_THREADS"] == "1" and alone["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert with_gpu["CUDA_VISIBLE_DEVICES"] == "GPU-x" and alone["CUDA_VISIBLE_DEVICES"] == ""


def test_results_name_the_gpu_as_the_host_counts_it(small_plate: Path, tmp_path: Path) -> None:
    """A worker's own gpu:0 may be the host's gpu:1: a failed step on it says so."""
    contexts = {"A01": compiled(small_plate, tmp_path, same)["A01"]}

    (result,) = execute_wells(contexts, workers=1, pool=pool(tmp_path, 2), devices=["gpu:1"])

    assert isinstance(result, WellResult) and not result.success  # the GPU is paper
    assert result.device == "gpu:1"
