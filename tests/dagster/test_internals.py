"""Private names of Dagster: one module imports them, each has its reason, and none has changed."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest

import openhcs_dagster
from openhcs_dagster import internals

PACKAGE = Path(openhcs_dagster.__file__).parent
NOT_DAGSTERS = {"os._exit"}
"""Names with an underscore that others have published."""

CONTRACTS: dict[str, object] = {
    "ActiveExecution": [
        "execution_plan", "retry_mode", "sort_key_fn", "max_concurrent", "tag_concurrency_limits",
        "instance_concurrency_context", "step_dependency_config",
    ],
    "ASSET_PARTITION_RANGE_END_TAG": "dagster/asset_partition_range_end",
    "ASSET_PARTITION_RANGE_START_TAG": "dagster/asset_partition_range_start",
    "AssetMaterializationPlannedData": ["asset_key", "partition", "partitions_subset"],
    "CODE_VERSION_TAG": "dagster/code_version",
    "ConfigurableClassData": ["module_name", "class_name", "config_yaml"],
    "DATA_VERSION_IS_USER_PROVIDED_TAG": "dagster/data_version_is_user_provided",
    "DATA_VERSION_TAG": "dagster/data_version",
    "DEFAULT_DB_STATEMENT_TIMEOUT": 15_000,
    "DEFAULT_POOL_MAX_OVERFLOW": 20,
    "DEFAULT_POOL_RECYCLE": 3_600,
    "DagsterGrpcClient": ["port", "socket", "host", "use_ssl", "metadata"],
    "EngineEventData": ["metadata", "error", "marker_start", "marker_end"],
    "ExecutionPlan": [
        "step_dict", "executable_map", "resolvable_map", "step_handles_to_execute", "known_state",
        "artifacts_persisted", "step_dict_by_key", "executor_name", "repository_load_data",
    ],
    "ExecuteRunWithPlanIterable": ["execution_plan", "iterator", "execution_context_manager"],
    "GrpcServerCodeLocationOrigin": ["host", "port", "socket", "location_name", "use_ssl", "additional_metadata"],
    "InMemoryJob": ["job_def"],
    "InProcessExecutor": ["retries", "step_dependency_config", "marker_to_close"],
    "InstanceConcurrencyContext": ["instance", "dagster_run"],
    "LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION": "5771160a95ad",
    "LaunchRunContext": ["dagster_run", "workspace"],
    "PlanExecutionContextManager": [
        "job", "execution_plan", "run_config", "dagster_run", "instance", "retry_mode", "scoped_resources_builder_cm",
        "raise_on_error", "output_capture", "step_dependency_config",
    ],
    "ProxyServerManager": ["instance", "workspace_load_target", "code_server_log_level"],
    "SQLITE_BUSY_TIMEOUT_SECONDS": 30,
    "SqliteEventLogStorage": ["base_dir", "inst_data"],
    "SqliteEventLogStorageWatchdog": ["event_log_storage", "run_id", "callback", "cursor", "kwargs"],
    "StepOutputHandle": ["step_key", "output_name", "mapping_key"],
    "WorkspaceProcessContext": [
        "instance", "workspace_load_target", "version", "read_only", "grpc_server_registry", "code_server_log_level",
        "server_command",
    ],
    "check_captured_interrupt": [],
    "configure_loggers": ["handler", "formatter", "log_level"],
    "create_app_from_workspace_process_context": [
        "workspace_process_context", "path_prefix", "live_data_poll_rate", "kwargs",
    ],
    "create_engine": ["url", "kwargs"],
    "cron_string_iterator": ["start_timestamp", "cron_string", "execution_timezone", "ascending", "start_offset"],
    "execute_run": ["job", "dagster_run", "instance", "raise_on_error"],
    "get_input_data_version_tag": ["input_key", "prefix"],
    "get_input_event_pointer_tag": ["input_key"],
    "inner_plan_execution_iterator": ["job_context", "execution_plan", "instance_concurrency_context"],
    "is_valid_cron_string": ["cron_string"],
    "monitor_canceling_run": ["instance", "run_record", "logger"],
    "monitor_starting_run": ["instance", "run_record", "logger"],
}  # fmt: skip
"""Values of constants, and parameters of what is called."""

MEMBERS: dict[str, dict[str, list[str]]] = {
    "ActiveExecution": {
        "get_step_by_key": ["self", "step_key"],
        "mark_failed": ["self", "step_key"],
        "mark_step_produced_output": ["self", "step_output_handle"],
        "mark_success": ["self", "step_key"],
    },
    "DagsterGrpcClient": {"ping": ["self", "echo"], "reload_code": ["self", "timeout"]},
    "ExecutionPlan": {
        "start": [
            "self",
            "retry_mode",
            "sort_key_fn",
            "max_concurrent",
            "tag_concurrency_limits",
            "instance_concurrency_context",
            "step_dependency_config",
        ],
    },
    "ExecutionResult": {"filter_events": ["self", "event_filter"]},
    "InProcessExecutor": {"execute": ["self", "plan_context", "execution_plan"]},
    "InstanceConcurrencyContext": {
        "claim": ["self", "concurrency_key", "step_key", "step_priority"],
        "interval_to_next_pending_claim_check": ["self"],
        "pending_claim_steps": ["self"],
    },
    "ProxyServerManager": {"get_code_server_specs": ["self"]},
    "SqliteEventLogStorage": {
        "_connect": ["self", "shard"],
        "_has_asset_key_col_on_connection": ["self", "conn", "column_name"],
        "_initdb": ["self", "engine", "for_index_shard"],
        "conn_string_for_shard": ["self", "shard_name"],
        "dispose": ["self"],
        "free_concurrency_slots_for_run": ["self", "run_id"],
        "has_table": ["self", "table_name"],
        "path_for_shard": ["self", "run_id"],
        "watch": ["self", "run_id", "cursor", "callback"],
        "wipe": ["self"],
    },
    "SqliteRunStorage": {"from_local": ["base_dir", "inst_data"]},
    "SqliteScheduleStorage": {"from_local": ["base_dir", "inst_data"]},
    "SqliteEventLogStorageWatchdog": {"_process_log": ["self"], "on_modified": ["self", "event"]},
}
"""Methods that are called or replaced, with their parameters."""


def modules() -> Iterator[ModuleType]:
    """All modules of the package that can be imported without effect."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "openhcs_dagster."):
        if not info.name.endswith(("__main__", ".definitions")):
            yield importlib.import_module(info.name)


def is_private(module: str) -> bool:
    return module.startswith(("dagster._", "dagster_webserver"))


def imported(path: Path) -> set[str]:
    """Modules that a file imports from, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def test_one_module_imports_private_names() -> None:
    """No other does, wherever in the file."""
    private = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if any(map(is_private, imported(path)))
    }

    assert private == {"internals.py"}


def test_nobody_reaches_for_a_name_with_an_underscore() -> None:
    """But in what it is itself, or inherits."""
    reached = {
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if ast.unparse(node.value) not in ("self", "cls", "super()") and ast.unparse(node) not in NOT_DAGSTERS
    }  # fmt: skip

    assert reached == set()


def test_what_the_type_checker_sees_is_what_is_imported() -> None:
    """Module and name agree, none is missing, and each is used by somebody and has a reason."""
    tree = ast.parse((PACKAGE / "internals.py").read_text())
    seen = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and is_private(node.module)
        for alias in node.names
    }
    names = {name for _, name in seen}
    used = {
        alias.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "openhcs_dagster.internals"
        for alias in node.names
    }

    assert seen == {(module, name) for module, reasons in internals.REASONS.items() for name in reasons}
    assert names == used
    assert all(reason for reasons in internals.REASONS.values() for reason in reasons.values())
    assert not hasattr(dg, "nothing") and names.isdisjoint(vars(dg))  # what is public is taken from there


@pytest.mark.parametrize("name", sorted(name for reasons in internals.REASONS.values() for name in reasons))
def test_a_private_name_is_what_it_was(name: str) -> None:
    """It is still there, with its value or its parameters."""
    value = getattr(internals, name)

    if name not in CONTRACTS:
        assert name in MEMBERS or isinstance(value, type) or name in ("IN_PROC_CONFIG", "run_command")
    elif callable(value):
        assert list(inspect.signature(value).parameters) == CONTRACTS[name]
    else:
        assert value == CONTRACTS[name]


@pytest.mark.parametrize(
    ("name", "method"), [(name, method) for name, methods in MEMBERS.items() for method in methods]
)
def test_a_method_takes_what_it_took(name: str, method: str) -> None:
    """Replaced or called, it has the parameters that it had."""
    assert list(inspect.signature(getattr(getattr(internals, name), method)).parameters) == MEMBERS[name][method]


def test_a_plate_is_run_without_the_daemon_and_the_web_server() -> None:
    """Together they take as long to import as Dagster; a command that needs neither imports neither."""
    asked = "import sys, openhcs_dagster.cli.commands, openhcs_dagster.cli.in_process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout.split()

    assert "openhcs_dagster.internals" in loaded
    assert not [
        name for name in loaded if name.startswith(("dagster._daemon", "dagster._grpc.client", "dagster_webserver"))
    ]


def test_ends_by_a_signal_are_told_from_failures() -> None:
    """The reason that a run gives for its end, and the daemon's command with its option."""
    assert internals.RunFailureReason.UNEXPECTED_TERMINATION.value == "UNEXPECTED_TERMINATION"
    assert "--workspace" in {option for parameter in internals.run_command.params for option in parameter.opts}
    assert issubclass(internals.DagsterUserCodeUnreachableError, dg.DagsterError)


def dagsters(cls: type) -> list[type]:
    """Dagster's classes among the bases."""
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] == "dagster"]


def source(cls: type) -> str:
    """The text of its class; of one that a decorator made anew, its module's."""
    try:
        return inspect.getsource(cls)
    except OSError:
        return inspect.getsource(importlib.import_module(cls.__module__))


def underscored(text: str) -> set[str]:
    """Names with one underscore that classes define, or take from themselves."""
    tree = ast.parse(text)
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls", "super()")
    }
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_inherited_private_names_are_listed() -> None:
    """Those that a class of ours shares with its bases of Dagster, by the bases' own source."""
    shared: dict[str, set[str]] = {}
    for module in modules():
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and (bases := dagsters(cls)):
                theirs = underscored("".join(textwrap.dedent(source(base)) for base in bases))
                shared.setdefault(bases[0].__name__, set()).update(underscored(source(cls)) & theirs)

    assert {name: names for name, names in shared.items() if names} == {
        name: set(reasons) for name, reasons in internals.INHERITED.items()
    }


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = internals.absent
