"""What must hold of a processed plate."""

import dagster as dg

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.report import summarise
from openhcs_dagster.wells import PlateWells
from openhcs_engine.context import ProcessingContext

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
    def check(compiled_contexts: dict[str, ProcessingContext], processed_wells: PlateWells) -> dg.AssetCheckResult:
        summary = summarise(entry, compiled_contexts, processed_wells)
        bad = [f"{well.well} ({well.state})" for well in summary.not_current]
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        named = f"Not current: {', '.join(bad[:NAMED])}{more}."
        return dg.AssetCheckResult(
            passed=not bad,
            severity=dg.AssetCheckSeverity.ERROR,
            description=named if bad else f"All {len(summary.wells)} wells are current.",
            metadata={"wells": len(summary.wells), "not current": len(bad)},
        )

    return check
