"""Do two variants store the same pixels?"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import zarr


def digests(store: Path) -> dict[str, str]:
    """A digest of every level of every field of an OME-Zarr plate, by ``row/column/field/level``.

    Axes of length one do not count, nor do leading zeros of columns: these are matters of layout, not of pixels.
    """
    found: dict[str, str] = {}
    for path in sorted(store.glob("*/*/*/[0-9]")):
        row, column, field, level = path.relative_to(store).parts
        pixels = np.ascontiguousarray(np.squeeze(zarr.open_array(path, mode="r")[...]))
        content = f"{pixels.dtype} {pixels.shape}".encode() + pixels.tobytes()
        found[f"{row}/{int(column)}/{field}/{level}"] = hashlib.sha256(content).hexdigest()
    return found


def differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Levels that are not in both, or not equal; empty if all pixels are the same."""
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
