"""Operating systems: what is said at the first import on those that are not tested."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import MutableMapping
from pathlib import PureWindowsPath
from typing import Final

COMMANDS: Final = ("openhcs", "openhcs-dagster")
WITHOUT_LOCKS: Final = (
    "openhcs-dagster does not run on Windows, which has no locks of folders (fcntl); run it on Linux, or below Windows "
    "in WSL 2."
)
UNTESTED: Final = (
    "openhcs-dagster is tested on Linux alone. On {system} nothing tells a dead run from a younger process of the same "
    "number, so that it counts as alive as long as that one; and wells are replaced by two renames, not in one step."
)
WARNED: Final = "OPENHCS_SYSTEM_WARNED"
"""Set in the environment, which workers get: one warning serves a program and its processes."""


def check_system(platform: str, command: str, environment: MutableMapping[str, str]) -> None:
    """Refuse Windows; warn of other systems than Linux, once for a program and its processes.

    Parameters
    ----------
    platform
        ``sys.platform``.
    command
        ``sys.argv[0]``: one of this project's commands ends with a sentence instead of a traceback.
    environment
        ``os.environ``; it is changed where a warning was given.

    Raises
    ------
    ImportError
        On Windows; ``SystemExit`` instead, if one of our commands is run.
    """
    if platform == "win32":
        raise SystemExit(WITHOUT_LOCKS) if PureWindowsPath(command).stem in COMMANDS else ImportError(WITHOUT_LOCKS)
    if platform != "linux" and WARNED not in environment:
        environment[WARNED] = "1"
        system = "macOS" if platform == "darwin" else platform
        warnings.warn(UNTESTED.format(system=system), RuntimeWarning, stacklevel=3)


def check_this_system() -> None:
    """``check_system`` for the process at hand."""
    check_system(sys.platform, sys.argv[0] if getattr(sys, "argv", None) else "", os.environ)


__all__ = ["check_system", "check_this_system"]
