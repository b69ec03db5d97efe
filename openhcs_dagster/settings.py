"""Where a deployment keeps its things, and its inbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from openhcs_engine.vfs.files import write_whole

LOCATION: Final = "openhcs"
"""Name of the code location, as in workspace.yaml."""
NIGHTLY: Final = "0 1 * * *"
"""An hour after midnight."""

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
    timezone: str = "UTC"
    """The clock that ``nightly`` means, e.g. ``Europe/Berlin``."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """From DAGSTER_HOME (default ``./.dagster_home``), OPENHCS_CATALOGUE (``plates`` in it), OPENHCS_WEBSERVER,
        OPENHCS_NIGHTLY (cron) and OPENHCS_TIMEZONE.
        """
        home = Path(environ.get("DAGSTER_HOME") or ".dagster_home").expanduser().absolute()
        catalogue = environ.get("OPENHCS_CATALOGUE")
        return cls(
            home=home,
            catalogue=Path(catalogue).expanduser().absolute() if catalogue else home / "plates",
            webserver=environ.get("OPENHCS_WEBSERVER", ""),
            nightly=environ.get("OPENHCS_NIGHTLY") or NIGHTLY,
            timezone=environ.get("OPENHCS_TIMEZONE") or "UTC",
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
        return self.home / "values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A folder into which microscopes write plates."""

    folder: Path
    pipeline: str
    """``module:attribute`` for every plate that arrives."""
    search_path: tuple[str, ...] = ()
    output: Path
    backend: str = "zarr"

    @classmethod
    def read(cls, file: Path) -> Inbox | str:
        """The inbox that a JSON file describes, or the sentence that says what is missing."""
        example = '{"folder": "/data/inbox", "pipeline": "my_lab:nuclei", "output": "/data/results"}'
        if not file.is_file():
            return f"No inbox is configured: write {file} as in {example}."
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls, dec_hook=_decode_path)
        except msgspec.MsgspecError as error:
            return f"The inbox file {file} cannot be read ({error}); write it as in {example}."


def _decode_path(wanted: type, value: object) -> object:
    if wanted is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise TypeError(f"{value!r} is not a path")


def prepare_home(home: Path) -> None:
    """Make a home with its configuration; files that are there stay as they are."""
    for name, content in (("dagster.yaml", _DAGSTER_YAML), ("workspace.yaml", _WORKSPACE_YAML)):
        if not (home / name).exists():
            write_whole(home / name, content.encode())
