"""One fit of a plan, made by itself, before its wells are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from openhcs_engine.errors import ExecutionError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.before_wells import fit_one
from openhcs_engine.execution.run import choose_runner
from openhcs_engine.execution.runners.well_watch import Notice, silent
from openhcs_engine.output.fits.record import FitRecord
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import ProcessingContext


def fit_plate(
    contexts: Mapping[str, ProcessingContext],
    name: str,
    *,
    runner: str = "processes",
    functions: FunctionSource | None = None,
    on_notice: Notice = silent,
) -> FitRecord:
    """Make one fit, unless its output holds it; a run of wells makes those that are missing, too.

    Parameters
    ----------
    contexts
        By well, of one plan.
    name
        Of the plate step.
    runner
        ``processes`` or ``threads``; functions that live only in this process run in it anyway.
    functions
        Where functions that cannot be imported are found.
    on_notice
        Called with what a person should know meanwhile.

    Raises
    ------
    ExecutionError
        If the plan has no such plate step, or it cannot be fitted.
    OutputPlaceError
        If the output place cannot be used.
    """
    first = next(iter(contexts.values()))
    plan = next((each for each in first.fits if each.name == name), None)
    if plan is None:
        known = ", ".join(each.name for each in first.fits) or "none"
        raise ExecutionError(f"The plan has no plate step {name!r} (it has: {known}); compile the plate again.")
    chosen, _ = choose_runner(runner, {first.well: replace(first, fits=(plan,))})
    output = open_output(first.output.address, first.output.backend, first.output.fsync)
    output.check_usable(first.plate.root)
    output.prepare(first.plate, first.output.images)
    fitted, result = fit_one(plan, first, output, chosen, functions or FunctionSource(), on_notice)
    if result.error is not None:
        raise ExecutionError(result.error)
    record = output.fits.find(name, fitted.fingerprint)
    if record is None:
        raise ExecutionError(f"The fit {name!r} was removed from {output.address} while this ran; make it again.")
    return record


__all__ = ["fit_plate"]
