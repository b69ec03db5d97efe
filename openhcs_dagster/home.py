"""The files of a home: Dagster's settings, written once and completed later."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from openhcs_dagster.settings import LOCATION, refuse_links_in_home
from openhcs_dagster.storage.databases import prepare_databases
from openhcs_engine.files.atomic import write_whole

_DAGSTER_YAML: Final = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    granularity: op
    default_limit: 1
  runs:
    max_concurrent_runs: 2
# Dagster's own event log with its files kept open: the same events for a third of the processor time.
event_log_storage:
  module: openhcs_dagster.event_log
  class: KeptSqliteEventLogStorage
  config: {}
# Dagster's own launcher, whose runs say who launches them: one that was killed before it began is known at once.
run_launcher:
  module: openhcs_dagster.run_launcher
  class: TaggingRunLauncher
  config: {}
# The pool's place of a run that was killed comes free again; without this every later plate would wait for ever.
run_monitoring:
  enabled: true
  poll_interval_seconds: 60
  free_slots_after_run_end_seconds: 60
"""

_WORKSPACE_YAML: Final = f"""\
load_from:
  - python_module:
      module_name: openhcs_dagster.definitions
      location_name: {LOCATION}
"""


def prepare_home(home: Path) -> str | None:
    """Make a home with its configuration and its databases; files that are there stay as they are.

    Returns
    -------
    str or None
        A sentence if its ``dagster.yaml`` lacks what a new home has; None if nothing is missing.

    Raises
    ------
    UnsafePathError
        If there is a link in one of the folders that this software writes there.
    """
    refuse_links_in_home(home)
    for name, content in (("dagster.yaml", _DAGSTER_YAML), ("workspace.yaml", _WORKSPACE_YAML)):
        if not (home / name).exists():
            write_whole(home / name, content.encode())
    found = _configuration(home)
    if found is not None:
        prepare_databases(home, ours=_parse(_DAGSTER_YAML), present=found)
    return what_home_lacks(home)


def what_home_lacks(home: Path) -> str | None:
    """A sentence if the ``dagster.yaml`` of a home lacks what a new home has; None if nothing is missing."""
    wanted, found = _parse(_DAGSTER_YAML), _configuration(home)
    if found is None:
        return None
    # A database server keeps the events itself, and Dagster refuses both together.
    needed = {name: wanted[name] for name in ("run_monitoring", "run_launcher")}
    if not {"storage", "event_log_storage"} & found.keys():
        needed["event_log_storage"] = wanted["event_log_storage"]
    missing = {name: value for name, value in needed.items() if name not in found}
    if not missing:
        return None
    import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

    file, lines = home / "dagster.yaml", yaml.safe_dump(missing, sort_keys=False)
    return f"{file} was made by an earlier version; add these lines to it (see the page on Dagster for why):\n{lines}"


def _configuration(home: Path) -> dict[str, Any] | None:
    """What its ``dagster.yaml`` says; None if there is none, or Dagster itself will say what is wrong with it."""
    import yaml

    try:
        return _parse((home / "dagster.yaml").read_text())
    except (FileNotFoundError, yaml.YAMLError):
        return None


def _parse(text: str) -> dict[str, Any]:  # Any: YAML's values
    import yaml

    found = yaml.safe_load(text)
    return found if isinstance(found, dict) else {}
