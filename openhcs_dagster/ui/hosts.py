"""The names by which browsers may call the UI."""

from __future__ import annotations

import re
from typing import Final

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this host, which need no permission."""
EXAMPLE: Final = "OPENHCS_UI_HOSTS=plates.lab.example,10.0.0.5"
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9._-]*)(?::[0-9]{1,5})?", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://(.+)", re.ASCII)


def host_of(authority: str) -> str | None:
    """The name in ``name:port``, in lower case; None if it is something else."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return match[1] if match else None


def host_of_origin(origin: str) -> str | None:
    """The name in ``http://name:port``, in lower case; None if it is something else, such as ``null``."""
    match = _ORIGIN.fullmatch(origin.lower())
    return host_of(match[1]) if match else None


__all__ = ["EXAMPLE", "LOOPBACK", "host_of", "host_of_origin"]
