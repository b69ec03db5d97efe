"""Every fit of a plan is there before its wells are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.fits.fitting import FitResult, can_be_completed
from openhcs_engine.execution.results import WellResult, WellStatus
from openhcs_engine.execution.runners.contract import Runner
from openhcs_engine.execution.well import as_it_is_now
from openhcs_engine.files.address import is_remote
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.fits.stored import partial_fits, with_fits
from openhcs_engine.plan.context import FitPlan, ProcessingContext
from openhcs_engine.plan.fit import fits_of
from openhcs_engine.raw.array_listing import ArrayListing

_Fit = tuple[str, str]
"""Name and fingerprint, as planned."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A plan with its fits as they are."""

    contexts: dict[str, ProcessingContext]
    """Their fits name what can be read of the samples, so that the wells' fingerprints are those of what was used."""
    failed: Mapping[str, FitResult]
    """Fits that there are not, by the wells that would use them."""
    notes: tuple[str, ...]
    """What was done, as sentences."""

    def failure(self, well: str) -> WellResult:
        """The result of a well whose fit failed."""
        result = self.failed[well]
        return WellResult(
            well=well,
            status=WellStatus.FAILED,
            fingerprint=self.contexts[well].fingerprint,
            error=f"Well {well}: {result.error}",
            error_type=result.error_type,
            traceback=result.traceback,
        )


def fit_before_wells(
    contexts: Mapping[str, ProcessingContext],
    output: PlateOutput,
    runner: Runner,
    functions: FunctionSource,
    notice: Callable[[str], None],
) -> Fitted:
    """Make the fits of a plan that its output does not hold; a fit that fails fails the wells that use it alone.

    Parameters
    ----------
    contexts
        By well.
    output
        Where they are published.
    runner
        Who calls the functions.
    functions
        Where those are found that cannot be imported.
    notice
        Called with what takes a while.
    """
    plans = fits_of(contexts)
    if not plans:
        return Fitted(dict(contexts), {}, ())
    first = next(iter(contexts.values()))
    resolved: dict[_Fit, FitPlan] = {}
    results: dict[_Fit, FitResult] = {}
    notes = []
    for planned in plans:
        key = planned.name, planned.fingerprint
        resolved[key], result = fit_one(planned, first, output, runner, functions, notice)
        if result.error is not None:
            results[key] = result
        if result.error is not None or result.seconds:
            notes.append(_sentence(result))
    failed: dict[str, FitResult] = {}
    for well, context in contexts.items():
        broken = (results.get((plan.name, plan.fingerprint)) for plan in context.own_fits)
        if (result_of_one := next(filter(None, broken), None)) is not None:
            failed[well] = result_of_one
    return Fitted(with_fits(contexts, resolved), failed, tuple(notes))


def wells_to_refit(contexts: Mapping[str, ProcessingContext], output: PlateOutput) -> tuple[str, ...]:
    """Wells of a plan that use a partial fit of which a missing image can be read now; reads those images alone."""
    again = {
        plan.name
        for plan, record in partial_fits(output.fits, contexts)
        if can_be_completed(next(iter(contexts.values())), plan, record)
    }
    return tuple(well for well, context in contexts.items() if any(fit.name in again for fit in context.own_fits))


def fit_one(
    planned: FitPlan,
    first: ProcessingContext,
    output: PlateOutput,
    runner: Runner,
    functions: FunctionSource,
    notice: Callable[[str], None],
) -> tuple[FitPlan, FitResult]:
    """One fit as it is now, made unless the output holds it; ``first`` is any context of its plan."""
    plan = _of_now(planned, first.plate.root)
    if output.fits.find(plan.name, plan.fingerprint) is not None:
        return plan, FitResult(name=plan.name)
    if output.fits.partial(plan.name, plan.fingerprint) is None:
        notice(f"fitting {plan.name} on {len(plan.planes)} images")
    else:
        notice(f"{plan.name} lacks images of its sample; looking whether they can be read now")
    result = runner.fit(replace(first, fits=(plan,)), plan.name, functions)
    return plan.without(result.unread), result


def _of_now(plan: FitPlan, root: str) -> FitPlan:
    """The fit with the sizes and times that its raw files have now, as wells are fingerprinted."""
    if is_remote(root):
        return plan
    raw = ArrayListing(root)
    planes = tuple(as_it_is_now(plane, raw) for plane in plan.planes)
    if all(now is planned for now, planned in zip(planes, plan.planes, strict=True)):
        return plan
    return replace(plan, planes=ImageIndex(planes))


def _sentence(result: FitResult) -> str:
    if result.error is not None:
        return f"{result.error} The wells that use it fail."
    done = f"fitted in {result.seconds:.2f} s" if result.made else "the partial fit of before was kept"
    return "; ".join((f"{result.name}: {done}", *result.remarks))


__all__ = ["Fitted", "fit_before_wells", "fit_one", "wells_to_refit"]
