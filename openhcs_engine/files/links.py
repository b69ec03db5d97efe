"""Symbolic links where this software deletes and writes: they would lead it to files of others, so they are refused."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from openhcs_engine.errors import UnsafePathError


def refuse_links(top: Path, paths: Iterable[str | Path]) -> None:
    """Look at what is about to be written or deleted, and at the folders on the way there; nothing is a link.

    Parameters
    ----------
    top
        The folder that the paths lie in. It may be a link itself, and so may the folders above it.
    paths
        Relative to it. Each is looked at once, whether it exists or not.

    Raises
    ------
    UnsafePathError
        If one of them is a link.
    """
    known: set[Path] = set()
    for path in map(Path, paths):
        for part in (*reversed(path.parents), path):
            if part not in known and part != Path():
                known.add(part)
                if (top / part).is_symlink():
                    raise _refusal(top, top / part)


def refuse_links_below(top: Path, name: str = "") -> None:
    """Look at everything below a folder, or below one of its folders, which need not exist; nothing is a link.

    A folder's listing says of each name what it is, so that no file is asked for. With a name, that folder may be no
    link itself.

    Raises
    ------
    UnsafePathError
        If something is a link.
    """
    refuse_links(top, [name] if name else [])
    folders = [str(top / name)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        raise _refusal(top, Path(entry.path))
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # it went meanwhile, or is refused by whoever wants to write there


def target_of(link: Path) -> str:
    """What a link leads to, for people."""
    try:
        return str(link.readlink())
    except OSError:  # it went meanwhile
        return "another place"


def _refusal(top: Path, link: Path) -> UnsafePathError:
    return UnsafePathError(
        f"{link} is a link to {target_of(link)}. What is written or deleted in {top} could go there, so nothing was "
        "touched; remove the link, or move what it leads to into its place.",
        path=str(link),
    )


__all__ = ["refuse_links", "refuse_links_below", "target_of"]
