"""Folders that vanish, or fail, in the very moment in which they are listed: by a patched call, not by a race."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest


def fail_when_listed(monkeypatch: pytest.MonkeyPatch, folder: str, number: int = errno.ENOENT) -> list[str]:
    """Listing a folder whose path ends so is the error of this number; returns the folders for which it was.

    ENOENT is what the system says of one that was there a moment ago.
    """
    failed: list[str] = []
    real = os.scandir

    def scandir(path: Any = ".") -> Any:  # Any: as os.scandir, also descriptors
        if not isinstance(path, int) and os.fspath(path).endswith(f"/{folder}"):
            failed.append(os.fspath(path))
            raise OSError(number, os.strerror(number), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return failed
