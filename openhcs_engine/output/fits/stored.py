"""The fits of a plan as an output holds them: partial where images of their samples could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from openhcs_engine.output.fits.contract import OutputFits
from openhcs_engine.output.fits.record import FitRecord
from openhcs_engine.plan.context import FitPlan, ProcessingContext
from openhcs_engine.plan.fit import fits_of


def with_stored_fits(fits: OutputFits, contexts: Mapping[str, ProcessingContext]) -> Mapping[str, ProcessingContext]:
    """A plan whose fits lack what the stored ones lack, so that its wells are those that were made with them.

    No raw file is read: an image that can be read meanwhile is for the next run to find.
    """
    stored = {
        (plan.name, plan.fingerprint): plan.without(each.key for each in record.missing)
        for plan, record in partial_fits(fits, contexts)
    }
    return with_fits(contexts, stored) if stored else contexts


def partial_fits(fits: OutputFits, contexts: Mapping[str, ProcessingContext]) -> Iterator[tuple[FitPlan, FitRecord]]:
    """Fits of a plan that an output holds without some images of their samples, and does not hold whole."""
    for plan in fits_of(contexts):
        if fits.find(plan.name, plan.fingerprint) is None:
            record = fits.partial(plan.name, plan.fingerprint)
            if record is not None:
                yield plan, record


def with_fits(
    contexts: Mapping[str, ProcessingContext], fits: Mapping[tuple[str, str], FitPlan]
) -> dict[str, ProcessingContext]:
    """Contexts with other fits in place of some, which are named by name and fingerprint."""
    shared: dict[int, tuple[FitPlan, ...]] = {}
    for context in contexts.values():
        if id(context.fits) not in shared:  # one tuple for all wells, as the compiler made it
            shared[id(context.fits)] = tuple(fits.get((plan.name, plan.fingerprint), plan) for plan in context.fits)
    return {well: replace(context, fits=shared[id(context.fits)]) for well, context in contexts.items()}


__all__ = ["partial_fits", "with_fits", "with_stored_fits"]
