"""Where a deployment keeps its things, and its inbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from openhcs_dagster.environment import NIGHTLY, TIMEZONE, clock_of, ui_hosts_of, webserver_of
from openhcs_engine.errors import OptionError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.files.links import refuse_links, refuse_links_below
from openhcs_engine.files.present import find

PLATES: Final = "plates"

VALUES: Final = "values"

MEMORY: Final = "nightly"
"""Folders of a home: the catalogue, what the IO manager keeps, what the nights remember."""

DAGSTERS: Final = ("storage", "history", "history/runs", "schedules")
"""Folders of a home in which Dagster keeps logs, events and schedules, unless its dagster.yaml says otherwise."""

LOCATION: Final = "openhcs"
"""Name of the code location, as in workspace.yaml."""


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
            If a folder is a URL or a file.
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
    path = environ.get(variable, "").strip()
    if path and is_remote(path):
        raise OptionError(
            f"{variable}={path!r} is a URL, but Dagster keeps its runs and this deployment's plates in folders; name "
            "one of this host or of a network drive.",
            option=variable,
        )
    if path and local_folder(path).is_file():
        raise OptionError(
            f"{variable}={path!r} is a file; name a folder, as /data/openhcs_home, which is made if it is not there.",
            option=variable,
        )
    return local_folder(path).resolve() if path else None


def refuse_links_in_home(home: Path) -> None:
    """Look at the folders of a home that this software writes; an UnsafePathError if there is a link in one of them.

    Of Dagster's own folders only the names in them are looked at: each run adds folders of its own there, for years.
    """
    for name in (PLATES, VALUES, MEMORY):
        refuse_links_below(home, name)
    refuse_links(home, DAGSTERS)
    refuse_links(home, (path.relative_to(home) for path in find(home, *(f"{name}/*" for name in DAGSTERS))))
