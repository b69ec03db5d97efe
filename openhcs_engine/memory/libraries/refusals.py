"""Why a library cannot work, as sentences that several adapters share."""

from __future__ import annotations

from openhcs_engine.errors import LibraryUnavailableError
from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.memory.loading import load_framework


def why_not_importable(library: ArrayLibrary) -> str | None:
    """The sentence that a library is not installed or cannot be imported; None if it can. Imports it if installed."""
    if not library.installed():
        return f"{library.package} is not installed (pip install 'openhcs-dagster[{library.extra}]')."
    try:
        load_framework(library.package)
    except LibraryUnavailableError as error:
        return str(error)
    return None


__all__ = ["why_not_importable"]
