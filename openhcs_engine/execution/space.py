"""Whether a run has room for its results, and for what its wells keep between their steps."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.preflight import check_free_space, nearest_existing
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.flow import flows_of, output_bytes


def check_space(folder: PlateOutput, contexts: Collection[ProcessingContext], workers: int) -> None:
    """Refuse to start what will not fit, on the file system of the results and on that of the intermediates.

    Parameters
    ----------
    folder
        The plate's output.
    contexts
        The wells that will be computed.
    workers
        How many of them at a time.

    Raises
    ------
    OutputPlaceError
        With how much is missing, or why nothing can be written where the intermediates shall go.
    """
    flows = flows_of({context.well: context for context in contexts})
    results = output_bytes(flows)
    folder.check_free_space(results)
    plan = next((context.output.scratch for context in contexts), None)
    if plan is None or not plan.fills_disk:
        return
    scratch = plan.folder or folder.unfinished_place
    _refuse_unwritable(scratch)
    at_once = min(workers, len(contexts))
    needed, what = at_once * max(flow.held for flow in flows), f"the intermediates of {at_once} wells at a time"
    if folder.results_folder is not None and _same_file_system(scratch, folder.results_folder):
        needed, what = needed + results, f"the results and {what}"
    check_free_space(
        scratch, needed, what=what, instead="choose another scratch folder, keep them in memory, or run fewer workers"
    )


def _refuse_unwritable(folder: Path) -> None:
    there = nearest_existing(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    reason = "no permission to write there, or it is read-only" if there.is_dir() else "it is a file"
    raise OutputPlaceError(
        f"Intermediates cannot be kept in {folder} ({there}: {reason}); choose another scratch folder.",
        path=str(folder),
    )


def _same_file_system(one: Path, other: Path) -> bool:
    return nearest_existing(one.resolve()).stat().st_dev == nearest_existing(other.resolve()).stat().st_dev


__all__ = ["check_space"]
