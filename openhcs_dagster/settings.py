"""Where a deployment keeps its things, and its inbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from openhcs_dagster.catalogue import RunOptions, remote_output
from openhcs_dagster.environment import NIGHTLY, TIMEZONE, clock_of, ui_hosts_of, webserver_of
from openhcs_engine.errors import OpenHCSError, OptionError
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.system_errors import explained
from openhcs_engine.vfs.files import write_whole
from openhcs_engine.vfs.raw import is_remote, local_folder

PLATES: Final = "plates"
VALUES: Final = "values"
MEMORY: Final = "nightly"
"""Folders of a home: the catalogue, what the IO manager keeps, what the nights remember."""
LOCATION: Final = "openhcs"
"""Name of the code location, as in workspace.yaml."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where this deployment keeps its things."""

    home: Path
    """DAGSTER_HOME: runs, events, catalogue, stored values."""
    catalogue: Path
    """Folder with one JSON file a plate."""
    webserver: str = ""
    """``host:port`` of the web server that can reload the code location; empty if none is known."""
    nightly: str = NIGHTLY
    """When the nightly schedule starts, as cron says it."""
    timezone: str = TIMEZONE
    """The clock that ``nightly`` means, e.g. ``Europe/Berlin``."""
    ui_hosts: tuple[str, ...] = ()
    """Names, besides this host's own, by which browsers may call the UI."""
    schedule_faults: tuple[str, ...] = ()
    """Why nothing starts by itself at night, as sentences; empty: it does."""
    warnings: tuple[str, ...] = ()
    """All that is wrong with the environment and does no harm to the plates, the schedule's faults among it."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """From DAGSTER_HOME (default ``./.dagster_home``), OPENHCS_CATALOGUE (``plates`` in it), OPENHCS_WEBSERVER,
        OPENHCS_NIGHTLY (cron), OPENHCS_TIMEZONE and OPENHCS_UI_HOSTS. A wrong value of the last four is a warning.

        Raises
        ------
        OptionError
            If a place is a URL or a file.
        """
        clock, (webserver, wrong), (hosts, bad) = clock_of(environ), webserver_of(environ), ui_hosts_of(environ)
        home = _folder(environ, "DAGSTER_HOME") or Path(".dagster_home").resolve()
        return cls(
            home=home,
            catalogue=_folder(environ, "OPENHCS_CATALOGUE") or home / PLATES,
            webserver=webserver,
            nightly=clock.cron,
            timezone=clock.timezone,
            schedule_faults=clock.faults,
            ui_hosts=hosts,
            warnings=(*clock.faults, *filter(None, (wrong, bad))),
        )

    @property
    def inbox_file(self) -> Path:
        """Describes the inbox, if there is one."""
        return self.home / "inbox.json"

    @property
    def address_file(self) -> Path:
        """Where ``openhcs-dagster ui`` writes ``host:port`` while it serves."""
        return self.home / "webserver.address"

    @property
    def values(self) -> Path:
        """What the IO manager keeps."""
        return self.home / VALUES


def _folder(environ: Mapping[str, str], variable: str) -> Path | None:
    """The folder that a variable names, absolute; None if it is not set."""
    place = environ.get(variable, "").strip()
    if place and is_remote(place):
        raise OptionError(
            f"{variable}={place!r} is a URL, but Dagster keeps its runs and this deployment's plates in folders; name "
            "one of this host or of a network drive.",
            option=variable,
        )
    if place and local_folder(place).is_file():
        raise OptionError(
            f"{variable}={place!r} is a file; name a folder, as /data/openhcs_home, which is made if it is not there.",
            option=variable,
        )
    return local_folder(place).resolve() if place else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A folder into which microscopes write plates, and what to do with what arrives."""

    folder: Path
    pipeline: str
    """``module:attribute`` for every plate that arrives."""
    search_path: tuple[str, ...] = ()
    output: Path
    options: RunOptions = field(default_factory=RunOptions)
    """How the plates are run."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How their folders are read, where detection is not enough."""

    @classmethod
    def read(cls, file: Path) -> Inbox | str:
        """The inbox that a JSON file describes, or the sentence that says what is missing or wrong.

        The options of running and reading stand in it under the names that they have everywhere. Relative paths start
        where it lies.
        """
        if not file.is_file():
            return f"No inbox is configured: write {file} as in {_EXAMPLE}."
        try:
            document = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
            return cls._of(document, file.parent)
        except (msgspec.MsgspecError, OpenHCSError, OSError, ValueError) as error:
            return f"The inbox file {file} cannot be used: {explained(error)}. Write it as in {_EXAMPLE}."

    @classmethod
    def _of(cls, document: Mapping[str, object], beside: Path) -> Inbox:
        valid = (*_PLACES, *(option.name for kind in (RunOptions, ReadOptions) for option in fields(kind)))
        if unknown := [key for key in document if key not in valid]:
            raise ValueError(f"{', '.join(map(repr, unknown))} is not an option (choose from {', '.join(valid)})")
        if lacking := [key for key in _NEEDED if key not in document]:
            raise ValueError(f"it says no {' and no '.join(lacking)}")
        options, reading = _part(document, RunOptions).beside(beside), _part(document, ReadOptions)
        output = msgspec.convert(document["output"], str)
        if complaint := options.complaint() or remote_output(output):
            raise ValueError(complaint)
        reading = replace(
            reading, planes_csv=_beside(beside, reading.planes_csv), plate_map=_beside(beside, reading.plate_map)
        )
        reading.handlers()  # raises if no format can be meant
        return cls(
            folder=beside / local_folder(msgspec.convert(document["folder"], str)),
            pipeline=msgspec.convert(document["pipeline"], str),
            search_path=msgspec.convert(document.get("search_path", ()), tuple[str, ...]),
            output=beside / local_folder(output),
            options=options,
            reading=reading,
        )


_NEEDED: Final = ("folder", "pipeline", "output")
_PLACES: Final = (*_NEEDED, "search_path")
_EXAMPLE: Final = '{"folder": "/data/inbox", "pipeline": "my_lab:nuclei", "output": "/data/results"}'
_Options = TypeVar("_Options", RunOptions, ReadOptions)


def _part(document: Mapping[str, object], kind: type[_Options]) -> _Options:
    """Those options of a document that are of one kind."""
    names = {option.name for option in fields(kind)}
    return msgspec.convert({key: value for key, value in document.items() if key in names}, kind)


def _beside(folder: Path, file: str | None) -> str | None:
    return None if file is None else str(folder / Path(file).expanduser())


def prepare_home(home: Path) -> str | None:
    """Make a home with its configuration; files that are there stay as they are.

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
    return what_home_lacks(home)


def refuse_links_in_home(home: Path) -> None:
    """Look at the folders of a home that this software writes; an UnsafePathError if there is a link in one of them."""
    for name in (PLATES, VALUES, MEMORY):
        refuse_links_below(home, name)


def what_home_lacks(home: Path) -> str | None:
    """A sentence if the ``dagster.yaml`` of a home lacks what a new home has; None if nothing is missing."""
    import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

    file, wanted = home / "dagster.yaml", yaml.safe_load(_DAGSTER_YAML)
    try:
        found = yaml.safe_load(file.read_text())
    except (FileNotFoundError, yaml.YAMLError):  # it will be made new; Dagster itself says what is wrong with it
        return None
    found = found if isinstance(found, dict) else {}
    # A database server keeps the events itself, and Dagster refuses both together.
    needed = {"run_monitoring": wanted["run_monitoring"]}
    if not {"storage", "event_log_storage"} & found.keys():
        needed["event_log_storage"] = wanted["event_log_storage"]
    missing = {name: value for name, value in needed.items() if name not in found}
    if not missing:
        return None
    lines = yaml.safe_dump(missing, sort_keys=False)
    return f"{file} was made by an earlier version; add these lines to it (see the page on Dagster for why):\n{lines}"
