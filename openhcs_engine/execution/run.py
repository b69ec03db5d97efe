"""One run over wells of one plate: prepare the output, skip what is published, run the rest, log everything."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from openhcs_engine.errors import ExecutionError, StorageError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.before_wells import fit_before_wells
from openhcs_engine.execution.leases import RunDevices, held_gpus
from openhcs_engine.execution.log import RunLog
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.execution.run_end import RunClaims
from openhcs_engine.execution.runners.contract import Finished, Runner, RunOrder
from openhcs_engine.execution.runners.registry import RUNNERS
from openhcs_engine.execution.runners.well_watch import REMIND_S, Notice, Patience, silent
from openhcs_engine.execution.space import check_space
from openhcs_engine.execution.well import with_files_of_now
from openhcs_engine.execution.well_lister import WellLister
from openhcs_engine.memory.devices import GPU, Device, DevicePolicy, DevicePool
from openhcs_engine.ngff.plate_group import PlateGroup
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.current import current_wells
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.plan.document import contexts_to_json
from openhcs_engine.plan.run_options import refused_limit, well_limit
from openhcs_engine.raw.array_listing import ArrayListing
from openhcs_engine.vfs.intermediates import swept_scratch


def execute_wells(
    contexts: Mapping[str, ProcessingContext],
    *,
    runner: str = "processes",
    workers: int | None = None,
    devices: Sequence[str | Device] = (),
    policy: DevicePolicy | str = DevicePolicy.AUTO,
    pool: DevicePool | None = None,
    patience_s: float = 60.0,
    functions: FunctionSource | None = None,
    run_id: str | None = None,
    well_timeout: int | float | str | None = None,
    remind_s: float = REMIND_S,
    on_notice: Notice | None = None,
    renew: bool = False,
) -> Iterator[WellResult]:
    """Execute contexts of one plate; yield each well's result as it finishes.

    Wells that are published with the same fingerprint are yielded first, as ``unchanged``, and not computed; neither
    are those ``made before the update``, by an earlier law of fingerprints that finds them the same. Everything
    that can be refused is refused before the first result: an output inside the raw plate, a full or read-only folder.
    A well that the output does not hold any more when the run ends, because somebody removed it meanwhile, is yielded
    a second time, as ``failed``.
    Closing the iterator, or Ctrl-C, ends the workers and leaves only whole wells.

    Parameters
    ----------
    contexts
        By well; all of one plate and one output.
    runner
        ``processes`` or ``threads``; functions that live only in this process run in threads anyway; results say so.
    workers
        Wells at the same time; default: as many as ``devices``, or the number of cores.
    devices
        Devices that the caller holds, one a worker; default: CPU slots without a lease, and where the plan has steps on
        GPUs as many of them as can be leased.
    policy
        ``auto``: the CPU stands in for a GPU that is not there or has too little memory, and results say so;
        ``gpu_required``: it never does.
    pool
        Lends GPUs; default: this host's.
    patience_s
        Seconds to wait for a GPU that another run holds.
    functions
        Where functions that cannot be imported are found.
    run_id
        Name of the run and its log; default: its time and four random letters.
    well_timeout
        Seconds, or a text such as ``10m``, after which a well fails and its worker is ended and replaced; default:
        never. Only processes can be ended.
    remind_s
        Seconds after which a well that still works is named in the log and by ``on_notice``, again and again.
    on_notice
        Called, from any thread, with what a person should know while the run goes on.
    renew
        True: wells that were made before the update are computed, too.

    Raises
    ------
    OptionError
        If ``well_timeout`` is no length of time.
    ExecutionError
        If a limit for wells is asked for where threads have to run them.
    OutputPlaceError
        If the output cannot be used.
    DeviceUnavailableError
        With the first result: if the policy requires a GPU and none can be had.
    """
    chosen, notes = choose_runner(runner, contexts)
    limit_s = well_limit(well_timeout)
    if limit_s is not None and not chosen.can_end_a_well:
        raise ExecutionError(refused_limit(notes))
    lender = pool or DevicePool()
    run_devices = RunDevices(
        cpus=_cpu_names(workers, devices),
        held=held_gpus(devices, lender),
        policy=DevicePolicy(policy),
        pool=lender,
        patience_s=patience_s,
    )
    began = datetime.now(UTC)
    first = next(iter(contexts.values()))
    folder = open_output(first.output.address, first.output.backend)
    folder.check_usable(first.plate.root)
    folder.sweep()  # first: a well that a killed run was replacing is put back, and may be unchanged
    materialized = [step.materialize for step in first.steps if step.materialize is not None]
    if first.fits:  # what is refused is refused before anything is fitted
        folder.prepare(first.plate, first.output.images, materialized)
    fitted = fit_before_wells(contexts, folder, chosen, functions or FunctionSource(), on_notice or silent)
    unchanged, changed = _unchanged(folder, fitted.contexts, renew=renew)
    contexts = {well: changed[well][0] if well in changed else context for well, context in fitted.contexts.items()}
    unfit = {well: fitted.failure(well) for well in fitted.failed if well not in unchanged}
    waiting = {well: context for well, context in contexts.items() if well not in unchanged and well not in unfit}
    check_space(folder, waiting.values(), len(run_devices.cpus))
    folder.prepare(first.plate, first.output.images, materialized)
    group = PlateGroup.of(first.plate, first.output.images, contexts)
    lister = WellLister(folder, group, folder.zarr_sets(materialized))
    lister.list()
    plan = plan_fingerprint(contexts.values())
    save_plan = partial(folder.save_contexts, contexts_to_json(contexts), plan)
    save_plan()
    log = RunLog(folder.log_folder(), run_id or new_run_id())
    log.start(contexts, chosen.name, run_devices.cpus)
    for sentence in fitted.notes:
        log.note(sentence)
    notes_of = {well: (*notes, *(changed[well][1] if well in changed else ())) for well in waiting}

    def notice(sentence: str) -> None:
        log.note(sentence)
        if on_notice is not None:
            on_notice(sentence)

    patience = Patience(limit_s=limit_s, remind_s=remind_s, notice=notice)
    claims = RunClaims(folder.address, folder.backend, before=lister.listed(), began=began)
    return _results(
        folder,
        log,
        chosen,
        waiting,
        (*unchanged.values(), *unfit.values()),
        replace(run_devices, on_wait=notice),
        functions or FunctionSource(),
        plan,
        notes_of,
        patience,
        lister,
        claims,
        save_plan,
    )


def new_run_id() -> str:
    """A name for a run that sorts by time: ``20260314T221503Z-9f3a``."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def _results(
    folder: PlateOutput,
    log: RunLog,
    runner: Runner,
    waiting: Mapping[str, ProcessingContext],
    settled: Sequence[WellResult],
    run_devices: RunDevices,
    functions: FunctionSource,
    plan: str,
    notes: Mapping[str, tuple[str, ...]],
    patience: Patience,
    lister: WellLister,
    claims: RunClaims,
    save_plan: Callable[[], object],
) -> Iterator[WellResult]:
    ended = "run stopped"
    try:
        with run_devices.workers(waiting) as crew:  # first of all: it may refuse the run
            for result in settled:
                claims.add(result)
                log.well(result)
                yield result
            computed = _computed(folder, log.path.stem, runner, waiting, crew, functions, plan, patience, lister)
            with closing(computed) as finished:
                for result, printed in finished:
                    claims.add(result)
                    log.well(result, printed)
                    yield replace(result, notes=(*notes[result.well], *result.notes))
        present = lister.present()
        lost = list(claims.lost(present))
        for result in lost:
            log.well(result)
            yield result
        for sentence in claims.replaced(present):
            patience.notice(sentence)
        ended = "run ended"
        if lost:
            with _errors_noted(patience.notice):
                save_plan()  # it may be lost, too, and says to verify and to the next run what this output is
                _make_tables(folder, log)
        else:
            _make_tables(folder, log)
    finally:
        log.end(f"{ended}: {', '.join(f'{count} {status}' for status, count in claims.count().items())}")
        try:
            if waiting:
                folder.sweep()
        finally:
            folder.keep_log(log.path)


@contextmanager
def _errors_noted(notice: Notice) -> Iterator[None]:
    """For files of a plate that lost wells meanwhile: what keeps them from being made must not hide the wells."""
    try:
        yield
    except StorageError as error:
        notice(f"the plate's plan or tables were not written, the next run writes them: {error}")


def _make_tables(folder: PlateOutput, log: RunLog) -> None:
    for table, left_out in folder.make_tables().items():
        if left_out:
            log.note(
                f"table {table} of the plate is without {', '.join(left_out)}: they were made by another pipeline and "
                "have other columns"
            )


def _computed(
    folder: PlateOutput,
    run_id: str,
    runner: Runner,
    waiting: Mapping[str, ProcessingContext],
    crew: Sequence[WorkerDevices],
    functions: FunctionSource,
    plan: str,
    patience: Patience,
    lister: WellLister,
) -> Generator[Finished, None, None]:
    if not waiting:
        return
    scratch = next(iter(waiting.values())).output.scratch
    with lister, folder.staging(run_id) as staging, swept_scratch(scratch):
        order = RunOrder(
            contexts=waiting,
            staging=staging,
            workers=crew,
            functions=functions,
            plan=plan,
            patience=patience,
            on_finished=lister.wake,
        )
        with closing(runner.run(order)) as finished:
            yield from finished


def choose_runner(name: str, contexts: Mapping[str, ProcessingContext]) -> tuple[Runner, tuple[str, ...]]:
    """The runner of a name, or threads where other processes cannot do it, with the reason."""
    if not contexts:
        raise ExecutionError("There are no wells to execute.")
    if name not in RUNNERS:
        raise ExecutionError(f"Runner {name!r} is unknown (choose from {', '.join(RUNNERS)}).")
    first = next(iter(contexts.values()))
    calls = [call for step in first.steps for route in step.routes for call in route.calls]
    calls += [plan.step.call for plan in first.fits]
    local = sorted({call.reference for call in calls if not call.importable})
    if first.output.scratch.backend.startswith("__main__:"):
        local.append(first.output.scratch.backend)
    if local and name != "threads":
        note = (
            f"ran in threads instead of {name}, because {', '.join(local)} cannot be imported by another process; put "
            "it into a module of its own for full speed and crash isolation"
        )
        return RUNNERS["threads"](), (note,)
    if name != "threads" and open_output(first.output.address).in_this_process:
        note = (
            f"ran in threads instead of {name}: {first.output.root} lives in the memory of this process alone, and the "
            "results are gone when it ends"
        )
        return RUNNERS["threads"](), (note,)
    return RUNNERS[name](), ()


def _cpu_names(workers: int | None, devices: Sequence[str | Device]) -> tuple[str, ...]:
    """A name for each worker's CPU slot: that of the slot the caller holds, or its number."""
    if workers is not None and workers < 1:
        raise ExecutionError(f"A run needs at least one worker, not {workers}.")
    held = [device if isinstance(device, str) else device.label for device in devices]
    count = min(workers or len(held), len(held)) if held else workers or os.cpu_count() or 1
    return tuple(
        held[slot] if slot < len(held) and not held[slot].startswith(GPU) else f"cpu:{slot}" for slot in range(count)
    )


def _unchanged(
    folder: PlateOutput, contexts: Mapping[str, ProcessingContext], *, renew: bool
) -> tuple[dict[str, WellResult], dict[str, tuple[ProcessingContext, tuple[str, ...]]]]:
    """Wells that are published, whole, and made by the same fingerprint, or before the update if they may stay.

    A plan may be old: of wells that it calls so the raw files and chunks are looked at. Those of which they are others
    are the second value, by contexts that say so, each with a note.
    """
    current = current_wells(folder, contexts)
    results = {well: unchanged_result(folder, manifest) for well, manifest in current.unchanged.items()}
    if not renew:
        before = current.made_before.items()
        results |= {well: unchanged_result(folder, manifest, WellStatus.MADE_BEFORE) for well, manifest in before}
    raw = ArrayListing(next(iter(contexts.values())).plate.root)
    now = {well: with_files_of_now(contexts[well], raw) for well in results}
    changed = {well: (context, notes) for well, (context, notes) in now.items() if notes}
    same = {
        well: replace(result, missing_planes=contexts[well].missing_planes, notes=contexts[well].gaps)
        for well, result in results.items()
        if well not in changed
    }
    return same, changed


def unchanged_result(
    folder: PlateOutput, manifest: WellManifest, status: WellStatus = WellStatus.UNCHANGED
) -> WellResult:
    """The result of a well that was not computed again."""
    return WellResult(
        well=manifest.well,
        status=status,
        fingerprint=manifest.fingerprint,
        device=manifest.device,
        store_path=folder.store_path(manifest.well),
        bytes_written=sum(file.size for file in manifest.files),
        files=len(manifest.files),
        warnings=manifest.warnings,
    )
