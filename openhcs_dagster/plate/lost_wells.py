"""Wells that a run recorded and then lost, as Dagster shows them."""

import dagster as dg

from openhcs_dagster.internals import AssetMaterializationPlannedData


def plan_again(context: dg.AssetExecutionContext, wells: dg.AssetKey, well: str) -> None:
    """Take back the record of a well that the failing run has made: its partition is shown as failed, not materialized.

    Events are never removed. But a partition counts as failed if the newest of its events plans a materialization
    and the run that planned it has failed.
    """
    event = dg.DagsterEvent.build_asset_materialization_planned_event(
        context.run.job_name,
        str(context.op_execution_context.op_handle),
        AssetMaterializationPlannedData(wells, partition=well),
    )
    context.instance.report_dagster_event(event, context.run.run_id)
