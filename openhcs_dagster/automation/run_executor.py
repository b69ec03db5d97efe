"""How the runs of this code location wait for a slot of their pool, and go on after a fit that failed.

Dagster's own wait keeps a processor busy, takes up to a quarter of a minute to see that a slot is free, says nothing
of who holds it, and passes over every signal. And a step that failed would hold back all that comes after it: the wells
of a plate whose fit failed would have no reason of their own, and published ones among them would be shown as failed.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from openhcs_dagster.automation.lost_runs import fail_lost_runs, holders
from openhcs_dagster.automation.run_process import process_tag
from openhcs_dagster.failures import as_sentence
from openhcs_dagster.internals import (
    IN_PROC_CONFIG,
    ActiveExecution,
    EngineEventData,
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    InProcessExecutor,
    InstanceConcurrencyContext,
    PlanExecutionContext,
    PlanExecutionContextManager,
    PlanOrchestrationContext,
    StepOutputHandle,
    check_captured_interrupt,
    inner_plan_execution_iterator,
)
from openhcs_dagster.keys import FIT_TAG

POLL_S: Final = 0.5
"""Seconds between looks for a free slot, and for a signal."""
SETTLE_S: Final = 5.0
"""Seconds between looks for runs whose process is gone, while this one waits."""
REMIND_S: Final = 600.0
"""Seconds until a run that still waits says so again."""
WAITING: Final = "Waits for a place"
"""What every message of a waiting run begins with."""


class PatientConcurrencyContext(InstanceConcurrencyContext):
    """Waits asleep, says for whom, settles lost runs meanwhile, and ends on SIGINT and SIGTERM."""

    def __init__(self, instance: dg.DagsterInstance, dagster_run: dg.DagsterRun) -> None:
        super().__init__(instance, dagster_run)
        self._run = dagster_run
        self._pools_of: dict[str, str] = {}
        self._settled_at = self._reported_at = -REMIND_S
        self._reported = ""

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """True if a step has a slot of its pool now."""
        self._pools_of[step_key] = concurrency_key
        self._pending_claim_counts.clear()  # from which Dagster makes its growing intervals
        return super().claim(concurrency_key, step_key, step_priority)

    def interval_to_next_pending_claim_check(self) -> float:
        """Seconds to sleep; called by Dagster whenever no step can begin."""
        if check_captured_interrupt():
            raise dg.DagsterExecutionInterruptedError
        now = time.monotonic()
        if now - self._settled_at >= SETTLE_S:
            self._settled_at = now
            fail_lost_runs(self._instance)
            self._report_wait(now)
        return POLL_S

    def _report_wait(self, now: float) -> None:
        sentences = [self._sentence(self._pools_of[step]) for step in sorted(self.pending_claim_steps())]
        message = " ".join(dict.fromkeys(filter(None, sentences)))
        if message and (message != self._reported or now - self._reported_at >= REMIND_S):
            self._reported, self._reported_at = message, now
            self._instance.report_engine_event(message, self._run, EngineEventData())

    def _sentence(self, pool: str) -> str:
        """Empty if a slot has come free meanwhile."""
        found = holders(self._instance, pool, besides=self._run.run_id)
        return f"{WAITING} in the pool {pool}, held by {found}." if found else ""


class PatientExecutor(InProcessExecutor):
    """Dagster's executor in one process; its runs say which process that is, and wait as described above."""

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """Yield the events of a run. Any: Dagster's own events."""
        instance, run = plan_context.instance, plan_context.dagster_run
        with as_sentence("looking for runs whose process is gone"):
            instance.add_run_tags(run.run_id, process_tag())
            fail_lost_runs(instance)
        try:
            yield from ExecuteRunWithPlanIterable(
                execution_plan=execution_plan,
                iterator=_steps,
                execution_context_manager=PlanExecutionContextManager(
                    job=plan_context.job,
                    retry_mode=plan_context.retry_mode,
                    execution_plan=execution_plan,
                    run_config=plan_context.run_config,
                    dagster_run=run,
                    instance=instance,
                    raise_on_error=plan_context.raise_on_error,
                    output_capture=plan_context.output_capture,
                    step_dependency_config=self.step_dependency_config,
                ),
            )
        finally:
            # A run that was interrupted keeps its slots until a daemon looks, and there may be none.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _steps(job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
    with PatientConcurrencyContext(job_context.instance, job_context.dagster_run) as concurrency:
        yield from inner_plan_execution_iterator(job_context, WellsAfterFits(*execution_plan), concurrency)


class WellsAfterFits(ExecutionPlan):
    """A plan of which a fit that failed ends like any other for the steps after it; the run fails all the same."""

    def start(self, *positional: Any, **named: Any) -> ActiveExecution:
        """What goes through the steps. Any: what Dagster hands over."""
        return _AfterFits(self, *positional, **named)


class _AfterFits(ActiveExecution):
    def mark_failed(self, step_key: str) -> None:
        """Let the wells run, each of which knows whether it uses the fit."""
        step = self.get_step_by_key(step_key)
        if FIT_TAG not in step.tags:
            super().mark_failed(step_key)
            return
        for output in step.step_outputs:
            self.mark_step_produced_output(StepOutputHandle(step_key, output.name))
        self.mark_success(step_key)


def _create(context: dg.InitExecutorContext) -> PatientExecutor:
    create = dg.in_process_executor.executor_creation_fn
    plain = create(context) if create is not None else None
    assert isinstance(plain, InProcessExecutor)
    return PatientExecutor(
        retries=plain.retries,
        step_dependency_config=plain.step_dependency_config,
        marker_to_close=plain.marker_to_close,
    )


patient_executor: Final = dg.ExecutorDefinition(
    name="in_process",  # as Dagster's own: configurations of runs fit both
    config_schema=IN_PROC_CONFIG,
    executor_creation_fn=_create,
    description="Executes all steps in a single process; a step that waits for a place of its pool says for whom.",
)
