"""What is started together: the processing of a plate's wells, and the making of its report."""

from collections.abc import Sequence
from typing import Final

import dagster as dg

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.internals import UnresolvedAssetJobDefinition
from openhcs_dagster.keys import PlateKeys, range_tags

ALL_ASSETS: Final = "__ASSET_JOB"
"""Dagster's own job of all assets; a job of ours could not hold wells of two plates, whose partitions differ."""
REPORTS: Final = "plate_reports"
PLATE_TAG: Final = "openhcs/plate"


def reports_job(entries: Sequence[CatalogueEntry]) -> UnresolvedAssetJobDefinition:
    """One job that can make any plate's report."""
    keys = [PlateKeys(entry.id).report for entry in entries]
    return dg.define_asset_job(
        REPORTS, selection=dg.AssetSelection.assets(*keys), description="Makes the reports of the plates asked for."
    )


def processing_request(entry: CatalogueEntry, run_key: str) -> dg.RunRequest:
    """Ask for a plate from its listing to its last well, in one run; wells that are current cost next to nothing."""
    return dg.RunRequest(
        run_key=run_key,
        asset_selection=PlateKeys(entry.id, entry.fits).processing,
        tags={**range_tags(entry.wells), PLATE_TAG: entry.id},
    )


def report_request(plate_id: str, run_key: str) -> dg.RunRequest:
    """Ask for a plate's report."""
    return dg.RunRequest(
        run_key=run_key,
        job_name=REPORTS,
        asset_selection=[PlateKeys(plate_id).report],
        tags={PLATE_TAG: plate_id},
    )
