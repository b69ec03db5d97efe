"""What must hold of a processed plate."""

from collections.abc import Sequence

import dagster as dg

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.failures import as_failure
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.report.summary import WellState, summarise
from openhcs_engine.errors import NotAnOutputError
from openhcs_engine.model.wording import listed_first
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.plan.context import ProcessingContext

NAMED = 20
"""Wells that the sentence names before it only counts."""


def wells_are_current(entry: CatalogueEntry) -> dg.AssetChecksDefinition:
    """Every well of the plan is published, and by this plan."""
    keys = PlateKeys(entry.id)

    @dg.asset_check(
        asset=keys.report,
        name="wells_are_current",
        additional_ins={
            "compiled_contexts": dg.AssetIn(key=keys.contexts),
            "processed_wells": dg.AssetIn(key=keys.wells),
        },
        description="Every well of the plan is published, and was made by this plan.",
    )
    @as_failure(f"comparing the wells of plate {entry.id} with their plan")
    def check(compiled_contexts: dict[str, ProcessingContext], processed_wells: PlateWells) -> dg.AssetCheckResult:
        summary = summarise(entry, compiled_contexts, processed_wells)
        bad = [f"{well.well} ({well.state})" for well in summary.not_current]
        named = f"Not current: {listed_first(bad, NAMED)}."
        gaps = f" With gaps: {len(summary.with_gaps)}." if summary.with_gaps else ""
        before = summary.counts.get(WellState.MADE_BEFORE, 0)
        current = (
            f"All {len(summary.wells)} wells are current{f', {before} of them made before the update' * bool(before)}."
        )
        return dg.AssetCheckResult(
            passed=not bad,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{named if bad else current}{gaps}",
            metadata={"wells": len(summary.wells), "not current": len(bad)},
        )

    return check


def wells_are_whole(entry: CatalogueEntry) -> dg.AssetChecksDefinition:
    """Every published file is as it was written, to the byte, and nothing else lies among them."""

    keys = PlateKeys(entry.id)

    @dg.asset_check(
        asset=keys.report,
        name="wells_are_whole",
        description="Every published file is as it was written, and no foreign file lies among them. With the report, "
        "wells that are new or changed are read and compared with their checksums; executed by itself, all are.",
    )
    @as_failure(f"checking the files of plate {entry.id}")
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from openhcs_engine.output.verification.changed_wells import inspect
        from openhcs_engine.output.verification.verify import PLATE

        folder = entry.output_plan.folder
        try:
            found = inspect(folder, thoroughly=keys.report not in (context.run.asset_selection or ()))
        except NotAnOutputError as error:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, description=str(error))
        report = found.report
        bad = [
            f"{'plate' if damage.well == PLATE else f'well {damage.well}'}: {reason}"
            for damage in report.damaged
            for reason in damage.reasons
        ]
        bad += [f"{path}, which published wells were made with, is missing" for path in report.missing_fits]
        return dg.AssetCheckResult(
            passed=not bad and not report.foreign,
            severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
            description=_description(bad, report.foreign, f"openhcs verify {folder} --repair", found.description),
            metadata={
                "how": found.description,
                "wells read": len(found.read),
                "whole wells": len(report.whole),
                "damaged wells": len(report.damaged),
                "foreign files": len(report.foreign),
            },
        )

    return check


def _description(bad: Sequence[str], foreign: Sequence[str], command: str, how: str) -> str:
    if bad:
        named = listed_first((reason.rstrip(".") for reason in bad), NAMED, "; ")
        return f"Damaged: {named}. `{command}` drops damaged wells, and the next run makes again what is missing."
    if foreign:
        return f"Belong to no well: {listed_first(foreign, NAMED)}."
    return f"All published files are as they were written ({how})."
