"""Plans as the first law of fingerprints would have written them, to compare them with what was made by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from openhcs_engine.laws import now, one
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, SharedSteps, StepPlan, with_calls


@dataclass(frozen=True, slots=True)
class Maker:
    """The version of this product that made something by the first law, and its functions as they were then."""

    product: tuple[str, ...]
    """``distribution==version``; empty if it was not installed."""
    sources: tuple[tuple[str, str], ...]
    """Digests of its functions, by reference."""

    @classmethod
    def of(cls, versions: Iterable[str], sources: Iterable[tuple[str, str]]) -> Self:
        """What versions of packages, and digests of functions by reference, say of this product."""
        product = tuple(version for version in versions if version.partition("==")[0] == now.PRODUCT)
        return cls(product, tuple(sorted({(name, source) for name, source in sources if now.is_ours(name)})))

    @classmethod
    def of_context(cls, context: ProcessingContext) -> Self:
        """The maker of a plan of the first law."""
        return cls.of(context.versions, ((call.reference, call.source_sha256) for call in calls_of_well(context)))


@dataclass(frozen=True, slots=True)
class ByLawOne:
    """Translates contexts; what those of a plan have in common is translated once."""

    _steps: dict[tuple[int, Maker], SharedSteps] = field(default_factory=dict)

    def translated(self, context: ProcessingContext, maker: Maker) -> ProcessingContext | None:
        """The context with the fingerprint that the maker would have given it.

        None where nothing made then can be the same now: it uses a function of ours whose results changed since, or
        says something that the first law had no word for.
        """
        if context.law == one.LAW:
            return context
        if context.own_fits or any(map(_gives_other_results, calls_of_well(context))):
            return None
        same = id(context.steps), maker
        if same not in self._steps:
            steps = tuple(with_calls(step, lambda call: _as_then(call, maker)) for step in context.steps)
            self._steps[same] = SharedSteps(steps, one.LAW)
        shared = self._steps[same]
        versions = (*maker.product, *now.without_product(context.versions))
        then = replace(context, steps=shared.steps, versions=versions, law=one.LAW)
        try:
            then.settle(shared)
        except one.UnknownToLawOneError:
            return None
        return then


def compared(
    before: Mapping[str, ProcessingContext], after: Mapping[str, ProcessingContext]
) -> Mapping[str, ProcessingContext]:
    """The later plan by the law of the earlier one: an update of this program alone makes no well another one."""
    if not before or next(iter(before.values())).law != one.LAW:
        return after
    maker, law = Maker.of_context(next(iter(before.values()))), ByLawOne()
    return {well: law.translated(context, maker) or context for well, context in after.items()}


def calls_of_well(context: ProcessingContext) -> Iterator[FunctionCall]:
    """The calls that make a well, CPU twins too."""
    steps: Iterator[StepPlan] = (step for step in context.steps if step.applies_to(context.well))
    for call in (call for step in steps for route in step.routes for call in route.calls):
        yield call
        if call.cpu_twin is not None:
            yield call.cpu_twin


def _as_then(call: FunctionCall, maker: Maker) -> FunctionCall:
    source, version = call.source_by_law_1, call.version
    if now.is_ours(call.reference):
        source, version = dict(maker.sources).get(call.reference, source), "".join(maker.product)
    return replace(
        call, source_sha256=source, version=version, source_by_law_1="", uses=FrozenMap(), files=(), unfollowed=()
    )


def _gives_other_results(call: FunctionCall) -> bool:
    return any(name in now.REVISIONS for name in (call.reference, *call.uses))


__all__ = ["ByLawOne", "Maker", "calls_of_well", "compared"]
