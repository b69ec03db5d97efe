"""Two plans side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import counted
from openhcs_engine.plan.diff.change import Change, ChangeKind
from openhcs_engine.plan.diff.fits import compare_fits
from openhcs_engine.plan.diff.plate import (
    Plan,
    compare_devices,
    compare_options,
    compare_outputs,
    compare_packages,
    compare_plates,
    compare_stages,
)
from openhcs_engine.plan.diff.raw import compare_raw
from openhcs_engine.plan.diff.steps import compare_steps
from openhcs_engine.plan.earlier_law import compared


@dataclass(frozen=True, slots=True)
class StaleGroup:
    """Wells that go stale for the same reasons."""

    wells: tuple[str, ...]
    """In plate order."""
    reasons: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """What is different in the later of two plans."""

    changes: tuple[Change, ...]
    """All of them, those that make no result stale included."""
    wells: tuple[str, ...]
    """Wells of either plan, in plate order."""
    stale: tuple[StaleGroup, ...]
    """Wells of both plans whose fingerprint differs, largest group first."""
    unchanged: tuple[str, ...]
    """Wells whose results the later plan would make again just so."""
    added: tuple[str, ...]
    """Wells that only the later plan has."""
    removed: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """True if there is no difference at all."""
        return not self.changes

    @property
    def stale_wells(self) -> tuple[str, ...]:
        """All wells that go stale, in plate order."""
        return tuple(sorted((well for group in self.stale for well in group.wells), key=plate_order))

    @property
    def summary(self) -> str:
        """The difference in one sentence: how many wells go stale, and why."""
        if self.equal:
            return "The plans are equal."
        new = f" {counted(len(self.added), 'well')} came, {len(self.removed)} went." * bool(self.added or self.removed)
        if not self.stale:
            return f"No well goes stale.{new}"
        reasons = dict.fromkeys(reason.summary for group in self.stale for reason in group.reasons)
        shown = "; ".join(list(reasons)[:3]) + ("; …" if len(reasons) > 3 else "")
        return f"{counted(len(self.stale_wells), 'well')} stale, because of {shown}.{new}"


def compare_plans(before: Plan, after: Plan) -> PlanDiff:
    """What changed from one plan of a plate to another, and which wells' results go stale.

    A well goes stale exactly if its fingerprint differs, and then it has at least one reason. A plan that was made
    before an update of this program is compared by the law of fingerprints of then.

    Parameters
    ----------
    before, after
        Contexts by well, none of them empty, as the compiler makes them or a plan document holds them.
    """
    wells = tuple(sorted({*before, *after}, key=plate_order))
    both = tuple(well for well in wells if well in before and well in after)
    after = compared(before, after)
    differing = frozenset(well for well in both if before[well].fingerprint != after[well].fingerprint)
    changes = [*_changes(before, after, both, differing), *_other_wells(before, after, wells)]
    return PlanDiff(
        changes=tuple(changes),
        wells=wells,
        stale=_groups(changes, both, differing),
        unchanged=tuple(well for well in both if well not in differing),
        added=tuple(well for well in wells if well not in before),
        removed=tuple(well for well in wells if well not in after),
    )


def _changes(before: Plan, after: Plan, both: tuple[str, ...], differing: frozenset[str]) -> list[Change]:
    old, new = next(iter(before.values())), next(iter(after.values()))
    everywhere = frozenset(both)
    changes = compare_steps(old.steps, new.steps, both, new.plate)
    changes += compare_fits(before, after, both)
    changes += compare_raw(before, after, both)
    changes += compare_packages(old.versions, new.versions, everywhere)
    changes += compare_options(old, new, everywhere)
    changes += compare_stages(before, after, both)
    changes += compare_plates(old.plate, new.plate, everywhere)
    # Where wells have steps of their own, two changes may cancel out: the fingerprint decides.
    changes = [replace(change, wells=change.wells & differing) for change in changes]
    touched = frozenset(well for change in changes for well in change.wells)
    if left := differing - touched:
        changes.append(Change(kind=ChangeKind.OTHER, where="steps", what="told otherwise", wells=left))
    return [*changes, *compare_devices(before, after, both), *compare_outputs(old.output, new.output)]


def _other_wells(before: Plan, after: Plan, wells: tuple[str, ...]) -> Iterator[Change]:
    for kind, here, there in (
        (ChangeKind.WELLS_ADDED, after, before),
        (ChangeKind.WELLS_REMOVED, before, after),
    ):
        found = [well for well in wells if well in here and well not in there]
        if found:
            added = kind is ChangeKind.WELLS_ADDED
            what = f"{counted(len(found), 'well')} {'added' if added else 'removed'} ({format_spans(found, wells)})"
            yield Change(
                kind=kind, where="wells", what=what, before=None if added else found, after=found if added else None
            )


def _groups(changes: list[Change], both: tuple[str, ...], differing: frozenset[str]) -> tuple[StaleGroup, ...]:
    alike: dict[tuple[int, ...], list[str]] = {}
    for well in both:
        if well in differing:
            alike.setdefault(tuple(n for n, change in enumerate(changes) if well in change.wells), []).append(well)
    groups = [StaleGroup(tuple(wells), tuple(changes[n] for n in numbers)) for numbers, wells in alike.items()]
    return tuple(sorted(groups, key=lambda group: -len(group.wells)))


__all__ = ["Plan", "PlanDiff", "StaleGroup", "compare_plans"]
