"""The plate on one page: what became of each well, how the plate looks, what was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.report.conditions import WellConditions
from openhcs_dagster.report.outcomes import Outcome, OutcomeLog
from openhcs_engine.execution.results import WellStatus
from openhcs_engine.model.digest import digest
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import row_and_column
from openhcs_engine.output.current import EarlierWells
from openhcs_engine.output.fits.stored import with_stored_fits
from openhcs_engine.output.opening import open_output
from openhcs_engine.output.reading.losses import Loss
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint

if TYPE_CHECKING:
    from openhcs_engine.output.manifest import WellManifest


class WellState(StrEnum):
    """What a person wants to know of a well first."""

    DONE = "done"
    """Published; its last run computed it."""
    UNCHANGED = "unchanged"
    """Published; its last run found it current and computed nothing."""
    MADE_BEFORE = "made before the update"
    """Published by an earlier version, of the same files, steps, parameters, sources and packages."""
    STALE = "stale"
    """Published, but by another plan than the one compiled now."""
    FAILED = "failed"
    """Not published; its last run failed."""
    MISSING = "missing"
    """Not published; it never ran, or its output was deleted."""

    @property
    def is_current(self) -> bool:
        """True if the well's published result is that of the plan."""
        return self in (WellState.DONE, WellState.UNCHANGED, WellState.MADE_BEFORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WellSummary:
    """One well of the report."""

    well: str
    state: WellState
    reason: str
    """Why it is failed, stale or missing, as a sentence; of a current one what its result lacks, empty if nothing."""
    seconds: float | None
    """Wall time of its last computation; None if unknown."""
    device: str
    fingerprint: str | None = None
    """With which it is published; None if it is not."""
    conditions: WellConditions | None = None
    """What was in it; None if no plate map says."""
    warnings: tuple[str, ...] = ()
    """What is probably wrong with its published images, as sentences."""

    @property
    def has_gaps(self) -> bool:
        """True if it is current, and its result lacks planes that the plate should have."""
        return self.state.is_current and bool(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateSummary:
    """What the report says, before it is drawn."""

    entry: CatalogueEntry
    plate: Plate
    wells: tuple[WellSummary, ...]
    """All wells of the plan, in plate order."""
    fingerprint: str
    """Of the plan compiled last."""
    versions: tuple[str, ...]
    steps: tuple[str, ...]
    pipeline: str
    """Its name, for people; empty for plans of earlier versions."""
    made: str
    """ISO time, UTC."""
    losses: tuple[Loss, ...] = ()
    """What casts lost in the published wells."""

    @property
    def counts(self) -> dict[WellState, int]:
        """Wells in each state, in the states' order; that of an update only where there are such wells."""
        found = Counter(well.state for well in self.wells)
        return {state: found[state] for state in WellState if found[state] or state is not WellState.MADE_BEFORE}

    @property
    def not_current(self) -> tuple[WellSummary, ...]:
        """Wells that need attention: failed, stale, missing."""
        return tuple(well for well in self.wells if not well.state.is_current)

    @property
    def with_gaps(self) -> tuple[WellSummary, ...]:
        """Current wells whose results lack planes that the plate should have."""
        return tuple(well for well in self.wells if well.has_gaps)

    @property
    def seconds(self) -> float:
        """Sum of the wells' wall times."""
        return sum(well.seconds or 0.0 for well in self.wells)

    @property
    def digest(self) -> str:
        """sha256 of what the page says about the wells; the same for two reports on the same plate."""
        wells = [(well.well, well.state.value, well.reason, _contents(well.conditions)) for well in self.wells]
        lost = [(loss.step, loss.cast.told, loss.wells) for loss in self.losses]
        return digest([self.fingerprint, wells, *([lost] if lost else [])])

    @property
    def conditions(self) -> dict[str, WellConditions]:
        """What was in the wells, where the plate map says; empty without one."""
        return {well.well: well.conditions for well in self.wells if well.conditions is not None}

    @property
    def layout(self) -> Layout:
        """The plate's grid."""
        return Layout.of(self.plate, [well.well for well in self.wells])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Rows and columns that are drawn."""

    first_row: int
    first_column: int
    rows: int
    columns: int

    @property
    def is_wide(self) -> bool:
        """True if a map of it has the page's width, as one of 1,536 wells; two of others stand side by side."""
        return self.columns > 24

    @classmethod
    def of(cls, plate: Plate, wells: Sequence[str]) -> Layout:
        """The whole plate where its format is known and mostly used; else the block that holds the wells."""
        places = [row_and_column(well) for well in wells]
        rows, columns = [row for row, _ in places], [column for _, column in places]
        if plate.rows and plate.columns and len(wells) * 4 >= plate.rows * plate.columns:
            return cls(first_row=0, first_column=0, rows=plate.rows, columns=plate.columns)
        return cls(
            first_row=min(rows),
            first_column=min(columns),
            rows=max(rows) - min(rows) + 1,
            columns=max(columns) - min(columns) + 1,
        )

    def place(self, well: str) -> tuple[int, int]:
        """Row and column of a well in the drawing, from 0."""
        row, column = row_and_column(well)
        return row - self.first_row, column - self.first_column


def summarise(entry: CatalogueEntry, contexts: Mapping[str, ProcessingContext], wells: PlateWells) -> PlateSummary:
    """Judge every well of the plan by what is published and by how it ended last."""
    log = OutcomeLog(entry.output_plan.folder)
    contexts = with_stored_fits(open_output(entry.output_plan.folder, entry.options.backend).fits, contexts)
    last, computed = log.latest(), log.last_computed()
    first = next(iter(contexts.values()))
    earlier = EarlierWells()
    return PlateSummary(
        entry=entry,
        plate=first.plate,
        wells=tuple(
            _judge(context, wells.manifest(well), last.get(well), computed.get(well), earlier)
            for well, context in contexts.items()
        ),
        fingerprint=plan_fingerprint(contexts.values()),
        versions=_versions(first),
        steps=tuple(f"{step.number}. {step.name}" for step in first.steps),
        pipeline=first.output.pipeline,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        losses=wells.losses,
    )


def _judge(
    context: ProcessingContext,
    published: WellManifest | None,
    last: Outcome | None,
    computed: Outcome | None,
    earlier: EarlierWells,
) -> WellSummary:
    state, reason = _state(context, published, last, earlier)
    return WellSummary(
        well=context.well,
        state=state,
        reason=reason,
        seconds=computed.seconds if computed and published else None,
        device=last.device if last else "",
        fingerprint=published.fingerprint if published else None,
        conditions=WellConditions.of(context.plate.plate_map, context.well),
        warnings=published.warnings if published else (),
    )


def _contents(conditions: WellConditions | None) -> tuple[object, ...]:
    return () if conditions is None else (conditions.role and conditions.role.value, *conditions.values.items())


_STALE = "Its result was made by another plan (changed pipeline, functions, packages or images); run it again."


def _state(
    context: ProcessingContext, published: WellManifest | None, last: Outcome | None, earlier: EarlierWells
) -> tuple[WellState, str]:
    if published is not None and published.fingerprint == context.fingerprint:
        unchanged = last is not None and last.status is WellStatus.UNCHANGED
        return (WellState.UNCHANGED if unchanged else WellState.DONE), _gaps(context)
    if published is not None and earlier.has(context, published):
        return WellState.MADE_BEFORE, _gaps(context)
    if last is not None and last.error is not None:
        older = " An older result is still in the output." if published else ""
        return WellState.FAILED, last.error + older
    if published is not None:
        return WellState.STALE, _STALE
    if last is not None:
        return WellState.MISSING, "It was processed, but its output is gone; run it again."
    return WellState.MISSING, "It has not been run."


def _gaps(context: ProcessingContext) -> str:
    gaps = " ".join(f"{sentence}." for sentence in context.gaps)
    return gaps and f"Done with gaps: {gaps}"


def _versions(context: ProcessingContext) -> tuple[str, ...]:
    calls = (call.version for step in context.steps for route in step.routes for call in route.calls)
    return tuple(sorted({*context.versions, *filter(None, calls)}))


def report_folder(entry: CatalogueEntry) -> Path:
    """Where a plate's report lies."""
    return entry.output_plan.folder / "report"
