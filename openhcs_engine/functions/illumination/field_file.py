"""Fields of light in files, as other programs leave them: one NumPy or TIFF file a channel."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.errors import PlaneReadError
from openhcs_engine.model.system_errors import explained
from openhcs_engine.raw.plane import read_plane

_KEPT: Final = 8
"""Fields that a process keeps: one a channel."""


def read_field(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a plane ``(y, x)`` of numbers from a ``.npy`` or TIFF file; read-only, and kept for the next call.

    Raises
    ------
    PlaneReadError
        If the file cannot be read, is damaged, or holds no single plane of numbers.
    """
    file = Path(path)
    try:
        found = file.stat()
    except OSError as error:
        raise PlaneReadError(f"The field {file} cannot be opened: {explained(error)}.", path=str(file)) from error
    return _read(str(file.absolute()), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=_KEPT)
def _read(path: str, size: int, mtime_ns: int) -> NDArray[Any]:
    """By path, size and time, so that another file of the same name is read anew."""
    file = Path(path)
    field = _read_npy(file) if file.suffix.lower() == ".npy" else read_plane(file.parent, file.name)
    field.flags.writeable = False
    return field


def _read_npy(file: Path) -> NDArray[Any]:
    try:
        field = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PlaneReadError(
            f"The field {file} is no NumPy array, or damaged ({error}); save it with numpy.save.", path=str(file)
        ) from error
    if not isinstance(field, np.ndarray) or field.ndim != 2 or field.dtype.kind not in "iuf":
        form = f"{field.dtype} array of shape {field.shape}" if isinstance(field, np.ndarray) else "archive of arrays"
        raise PlaneReadError(
            f"The field {file} is an {form}, but a field is one plane (y, x) of numbers.", path=str(file)
        )
    return field
