"""The private names of Dagster that this package cannot do without, each with its reason; read in Dagster 1.13.28.

No other module imports from ``dagster._*`` or ``dagster_webserver``. A name is imported when it is first asked for:
together they take as long to import as Dagster itself, and no process needs them all. The contract of each name is held
by a test, which fails if a newer Dagster changes it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dagster._cli.proxy_server_manager import ProxyServerManager as ProxyServerManager
    from dagster._core.definitions.data_version import CODE_VERSION_TAG as CODE_VERSION_TAG
    from dagster._core.definitions.data_version import (
        DATA_VERSION_IS_USER_PROVIDED_TAG as DATA_VERSION_IS_USER_PROVIDED_TAG,
    )
    from dagster._core.definitions.data_version import DATA_VERSION_TAG as DATA_VERSION_TAG
    from dagster._core.definitions.data_version import get_input_data_version_tag as get_input_data_version_tag
    from dagster._core.definitions.data_version import get_input_event_pointer_tag as get_input_event_pointer_tag
    from dagster._core.definitions.executor_definition import IN_PROC_CONFIG as IN_PROC_CONFIG
    from dagster._core.definitions.job_base import InMemoryJob as InMemoryJob
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition,
    )
    from dagster._core.errors import DagsterUserCodeUnreachableError as DagsterUserCodeUnreachableError
    from dagster._core.events import AssetMaterializationPlannedData as AssetMaterializationPlannedData
    from dagster._core.events import EngineEventData as EngineEventData
    from dagster._core.events import RunFailureReason as RunFailureReason
    from dagster._core.execution.api import ExecuteRunWithPlanIterable as ExecuteRunWithPlanIterable
    from dagster._core.execution.api import execute_run as execute_run
    from dagster._core.execution.context.system import PlanExecutionContext as PlanExecutionContext
    from dagster._core.execution.context.system import PlanOrchestrationContext as PlanOrchestrationContext
    from dagster._core.execution.context_creation_job import PlanExecutionContextManager as PlanExecutionContextManager
    from dagster._core.execution.execution_result import ExecutionResult as ExecutionResult
    from dagster._core.execution.plan.active import ActiveExecution as ActiveExecution
    from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator as inner_plan_execution_iterator
    from dagster._core.execution.plan.instance_concurrency_context import (
        InstanceConcurrencyContext as InstanceConcurrencyContext,
    )
    from dagster._core.execution.plan.outputs import StepOutputHandle as StepOutputHandle
    from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
    from dagster._core.executor.in_process import InProcessExecutor as InProcessExecutor
    from dagster._core.launcher.base import LaunchRunContext as LaunchRunContext
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin as GrpcServerCodeLocationOrigin
    from dagster._core.storage.event_log import SqliteEventLogStorage as SqliteEventLogStorage
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
        SqliteEventLogStorageWatchdog as SqliteEventLogStorageWatchdog,
    )
    from dagster._core.storage.runs import SqliteRunStorage as SqliteRunStorage
    from dagster._core.storage.schedules import SqliteScheduleStorage as SqliteScheduleStorage
    from dagster._core.storage.sql import create_engine as create_engine
    from dagster._core.storage.sqlite import (
        LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION as LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION,
    )
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS as SQLITE_BUSY_TIMEOUT_SECONDS
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG as ASSET_PARTITION_RANGE_END_TAG
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG as ASSET_PARTITION_RANGE_START_TAG
    from dagster._core.workspace.context import WorkspaceProcessContext as WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget as WorkspaceFileTarget
    from dagster._daemon.cli import run_command as run_command
    from dagster._daemon.monitoring.run_monitoring import monitor_canceling_run as monitor_canceling_run
    from dagster._daemon.monitoring.run_monitoring import monitor_starting_run as monitor_starting_run
    from dagster._grpc.client import DagsterGrpcClient as DagsterGrpcClient
    from dagster._serdes import ConfigurableClassData as ConfigurableClassData
    from dagster._utils.interrupts import check_captured_interrupt as check_captured_interrupt
    from dagster._utils.log import configure_loggers as configure_loggers
    from dagster._utils.schedules import cron_string_iterator as cron_string_iterator
    from dagster._utils.schedules import is_valid_cron_string as is_valid_cron_string
    from dagster_webserver.app import (
        create_app_from_workspace_process_context as create_app_from_workspace_process_context,
    )
    from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT as DEFAULT_DB_STATEMENT_TIMEOUT
    from dagster_webserver.cli import DEFAULT_POOL_MAX_OVERFLOW as DEFAULT_POOL_MAX_OVERFLOW
    from dagster_webserver.cli import DEFAULT_POOL_RECYCLE as DEFAULT_POOL_RECYCLE

REASONS: Final = {
    "dagster._cli.proxy_server_manager": {
        "ProxyServerManager": "code servers that outlive the web server, which `dagster dev` alone would start",
    },
    "dagster._core.definitions.data_version": {
        "CODE_VERSION_TAG": "wells are recorded while their op still runs, and Dagster tags an op's outputs alone",
        "DATA_VERSION_IS_USER_PROVIDED_TAG": "as above",
        "DATA_VERSION_TAG": "as above",
        "get_input_data_version_tag": "as above: without it a well is shown as unsynced",
        "get_input_event_pointer_tag": "as above",
    },
    "dagster._core.definitions.executor_definition": {
        "IN_PROC_CONFIG": "configurations of runs fit Dagster's executor and ours",
    },
    "dagster._core.definitions.job_base": {
        "InMemoryJob": "what execute_run takes for a job that no code location has",
    },
    "dagster._core.definitions.unresolved_asset_job_definition": {
        "UnresolvedAssetJobDefinition": "the type of what define_asset_job returns; for annotations",
    },
    "dagster._core.errors": {
        "DagsterUserCodeUnreachableError": "raised by DagsterGrpcClient for a code server that does not answer",
    },
    "dagster._core.events": {
        "AssetMaterializationPlannedData": "takes back the record of a well that the failing run lost",
        "EngineEventData": "a sentence in a run's log that is no step's",
        "RunFailureReason": "tells a run that a signal ended from one that failed",
    },
    "dagster._core.execution.api": {
        "ExecuteRunWithPlanIterable": "the executor's outer loop, with our wait for a place inside",
        "execute_run": "execute_in_process has an executor of its own, which does not wait for a place",
    },
    "dagster._core.execution.context.system": {
        "PlanExecutionContext": "for annotations of the executor",
        "PlanOrchestrationContext": "as above",
    },
    "dagster._core.execution.context_creation_job": {
        "PlanExecutionContextManager": "what ExecuteRunWithPlanIterable takes",
    },
    "dagster._core.execution.execution_result": {
        "ExecutionResult": "the type of what execute_run returns; for annotations",
    },
    "dagster._core.execution.plan.active": {
        "ActiveExecution": "decides what runs after a step that failed: wells do after a fit",
    },
    "dagster._core.execution.plan.execute_plan": {
        "inner_plan_execution_iterator": "the executor's loop over steps, with our wait for a place inside",
    },
    "dagster._core.execution.plan.instance_concurrency_context": {
        "InstanceConcurrencyContext": "its wait keeps a processor busy, says nothing, and passes over every signal",
    },
    "dagster._core.execution.plan.outputs": {
        "StepOutputHandle": "names the output that a failed fit would have had",
    },
    "dagster._core.execution.plan.plan": {
        "ExecutionPlan": "starts the execution that goes on after a failed fit",
    },
    "dagster._core.executor.in_process": {
        "InProcessExecutor": "the executor whose wait is replaced",
    },
    "dagster._core.launcher.base": {
        "LaunchRunContext": "what a run launcher is given; for annotations",
    },
    "dagster._core.remote_origin": {
        "GrpcServerCodeLocationOrigin": "tells a code server on another host, whose processes cannot be looked at",
    },
    "dagster._core.storage.event_log": {
        "SqliteEventLogStorage": "the event log whose files ours reads and writes, too",
    },
    "dagster._core.storage.event_log.sqlite.sqlite_event_log": {
        "SqliteEventLogStorageWatchdog": "the live log of a run: it must look at SQLite's journal, too",
    },
    "dagster._core.storage.runs": {
        "SqliteRunStorage": "a home's databases are made by one process, before its servers start",
    },
    "dagster._core.storage.schedules": {
        "SqliteScheduleStorage": "as above",
    },
    "dagster._core.storage.sql": {
        "create_engine": "an engine as Dagster makes it, with its codecs",
    },
    "dagster._core.storage.sqlite": {
        "LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION": "written beside the newest one, it makes a home unreadable",
        "SQLITE_BUSY_TIMEOUT_SECONDS": "our connections wait for another process as long as Dagster's",
    },
    "dagster._core.storage.tags": {
        "ASSET_PARTITION_RANGE_END_TAG": "a run of a range of wells, as the UI asks for it",
        "ASSET_PARTITION_RANGE_START_TAG": "as above",
    },
    "dagster._core.workspace.context": {
        "WorkspaceProcessContext": "the web server's application takes one",
    },
    "dagster._core.workspace.load_target": {
        "WorkspaceFileTarget": "a workspace file, for the code servers and the web server",
    },
    "dagster._daemon.cli": {
        "run_command": "the daemon in a process of ours, which ends with its parent",
    },
    "dagster._daemon.monitoring.run_monitoring": {
        "monitor_canceling_run": "time limits of runs that nobody judges, where no daemon runs",
        "monitor_starting_run": "as above",
    },
    "dagster._grpc.client": {
        "DagsterGrpcClient": "asks a code server whether it answers, and to load its definitions again",
    },
    "dagster._serdes": {
        "ConfigurableClassData": "what a storage is given that dagster.yaml names; for annotations",
    },
    "dagster._utils.interrupts": {
        "check_captured_interrupt": "Dagster holds signals back while a run works; a waiting one must see them",
    },
    "dagster._utils.log": {
        "configure_loggers": "the servers' lines look as Dagster's own",
    },
    "dagster._utils.schedules": {
        "cron_string_iterator": "a schedule's text is checked where it is read, by what will read it later",
        "is_valid_cron_string": "as above",
    },
    "dagster_webserver.app": {
        "create_app_from_workspace_process_context": "the UI's application, behind our guard of requests",
    },
    "dagster_webserver.cli": {
        "DEFAULT_DB_STATEMENT_TIMEOUT": "the database as the command dagster-webserver sets it",
        "DEFAULT_POOL_MAX_OVERFLOW": "as above",
        "DEFAULT_POOL_RECYCLE": "as above",
    },
}
"""Module → name → why it is needed."""

INHERITED: Final = {
    "SqliteEventLogStorage": {
        "_base_dir": "the folder that the live log watches",
        "_connect": "a connection is kept instead of made for each statement",
        "_db_lock": "no two threads use a kept connection at once",
        "_has_asset_key_col_on_connection": "asked for each event; a column that was there once stays",
        "_initdb": "makes a file's tables, at its first use",
        "_initialized_dbs": "files whose tables are made",
        "_obs": "the live log's observer of files",
        "_watchers": "who follows which run",
    },
    "SqliteEventLogStorageWatchdog": {
        "_log_path": "the run's file, beside which its journal lies",
        "_process_log": "reads what is new",
    },
    "InstanceConcurrencyContext": {
        "_instance": "asked for lost runs and for who holds a place",
        "_pending_claim_counts": "from which the growing intervals are made",
    },
    "DefaultRunLauncher": {
        "_instance": "tags the run before its process begins",
    },
}
"""Dagster's class → names of its that begin with an underscore and that a class of ours uses or replaces → why."""

_MODULES: Final = {name: module for module, names in REASONS.items() for name in names}

__all__ = ["INHERITED", "REASONS", *_MODULES]  # names of a table


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value
