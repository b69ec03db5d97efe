"""Which kind of output an address is."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from openhcs_engine.errors import OutputPlaceError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.listing import FolderFiles, OutputFiles


def open_output(address: str | PathLike[str], backend: str = "zarr", fsync: bool = False) -> PlateOutput:
    """The output of one plate; nothing is read or made.

    Parameters
    ----------
    address
        ``<output>/<plate_id>``: a folder of this host, or a URL of an object store.
    backend
        ``zarr`` or ``disk``: what new wells are written as.
    fsync
        Wells are on the disk, not only in the computer's memory, before they count as done. An object store has taken
        what it says it has.

    Raises
    ------
    OutputPlaceError
        If the URL is none of an object store.
    """
    path = os.fspath(address)
    if is_remote(path):
        from openhcs_engine.output.bucket.output import PlateBucket

        return PlateBucket.at(path, backend)
    from openhcs_engine.output.folder.output import PlateFolder

    return PlateFolder(local_folder(path), backend, fsync)


def folder_of(address: str | PathLike[str]) -> Path:
    """The folder of an output, for what only folders can do; OutputPlaceError for a URL."""
    path = os.fspath(address)
    if is_remote(path):
        raise OutputPlaceError(
            f"{path} is a URL, and what is asked for here needs a folder of this host or of a network drive; copy the "
            "plate there.",
            path=path,
        )
    return local_folder(path)


def files_of(address: str | PathLike[str]) -> OutputFiles:
    """The files of one plate's output; raises as ``open_output``."""
    path = os.fspath(address)
    return open_output(path).files if is_remote(path) else FolderFiles(local_folder(path))


__all__ = ["files_of", "folder_of", "open_output"]
