"""What ``openhcs try`` does: a trial in a folder that is gone afterwards, and its page."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openhcs_engine.cli.app import OK, SOME_FAILED, Options
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.ngff.options import Compression, ImageOptions
from openhcs_engine.plan.run_options import THREADS
from openhcs_engine.trials.combinations import combinations_of

if TYPE_CHECKING:
    from openhcs_engine.model.plate import Plate
    from openhcs_engine.pipeline import Pipeline


def try_settings(
    plate: str,
    reference: str,
    load: Callable[[dict[str, Any], Plate], Pipeline],
    *,
    vary: Sequence[str],
    wells: str | None,
    site: int | None,
    seed: int,
    page: Path,
    running: Options,
    reading: Options,
) -> int:
    """Run the trial and write its page; return the exit code of the command."""
    fixed = running.pop("set")
    combinations = combinations_of(vary, fixed)
    from openhcs_engine.orchestrator import PipelineOrchestrator
    from openhcs_engine.trials.page import render
    from openhcs_engine.trials.run import run_trial

    scratch = running.get("scratch")
    fast = None if scratch is None or is_remote(scratch) else local_folder(scratch)
    with tempfile.TemporaryDirectory(prefix="openhcs-try-", dir=fast) as output:
        orchestrator = PipelineOrchestrator(
            plate,
            output=output,
            runner=THREADS,  # each combination would start processes of its own: two seconds of a processor
            images=ImageOptions(levels=1, compression=Compression(codec="none")),
            **running,
            **reading,
        ).initialize()
        trial = run_trial(
            orchestrator,
            lambda settings: load(settings, orchestrator.plate),
            reference=reference,
            combinations=combinations,
            fixed=fixed,
            wells=wells,
            site=site,
            seed=seed,
            on_progress=lambda sentence: sys.stderr.write(f"{sentence}\n"),
        )
    write_whole(page, render(trial).encode())
    for failure in trial.failures:
        sys.stderr.write(f"failed: {failure}\n")
    sys.stdout.write(f"wells: {', '.join(trial.wells)} ({trial.why_wells})\npage: {page} ({trial.seconds:.1f} s)\n")
    return SOME_FAILED if trial.failed else OK


__all__ = ["try_settings"]
