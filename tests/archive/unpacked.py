"""The archives of earlier versions, unpacked where a test wants them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

from tests.archive.make_archive import LAB

ARCHIVES: Final = {"0.1.0": Path(__file__).with_name("lab-0.1.0.tar.xz")}
"""By the version of the product that made them."""
_TEXTS: Final = ("home/**/*.json", "out/*/contexts/*.json", "out/*/wells/*.json")
"""Files that name folders of the lab."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a lab, with the times of its files, as if it had been made in this folder; return the folder."""
    folder = folder.resolve()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for path in [path for pattern in _TEXTS for path in folder.glob(pattern)]:
        path.write_bytes(path.read_bytes().replace(str(LAB).encode(), str(folder).encode()))
    return folder
