"""How the runs of a home are launched; homes name this module in their ``dagster.yaml``."""

from typing import Final

import dagster as dg

from openhcs_dagster.automation.run_process import LAUNCHER_TAG, process_tag
from openhcs_dagster.internals import GrpcServerCodeLocationOrigin, LaunchRunContext

_THIS_HOST: Final = ("", "localhost", "127.0.0.1", "::1")


class TaggingRunLauncher(dg.DefaultRunLauncher):
    """Dagster's own launcher, whose runs say who launches them.

    A run has no process of its own until the code server has begun one. If everything is killed before that, or the
    power fails, the tag alone tells that nobody will begin the run any more. Runs of a code server on another host bear
    none: their process numbers say nothing here.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Let the code server begin a process for a run; returns, or raises, once that process has said so."""
        if _is_served_here(context.dagster_run):
            self._instance.add_run_tags(context.dagster_run.run_id, process_tag(LAUNCHER_TAG))
        super().launch_run(context)


def _is_served_here(run: dg.DagsterRun) -> bool:
    origin = run.remote_job_origin
    location = origin.repository_origin.code_location_origin if origin is not None else None
    return not isinstance(location, GrpcServerCodeLocationOrigin) or (location.host or "") in _THIS_HOST


__all__ = ["TaggingRunLauncher"]
