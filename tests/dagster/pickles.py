"""Whether files hold pickles."""

from __future__ import annotations

import pickletools
from pathlib import Path


def assert_no_pickles(folder: Path) -> None:
    """No file below the folder is a pickle of any protocol, or holds one as NumPy and joblib do."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, f"{folder} holds no file"
    assert [path for path in files if _is_pickle(path.read_bytes())] == []


def _is_pickle(content: bytes) -> bool:
    # Protocol 4 and 5 begin with PROTO and FRAME: three bytes that pixels have by chance once in 16 MB.
    if any(bytes([0x80, protocol, 0x95]) in content for protocol in (4, 5)):
        return True
    try:
        last = [position for _, _, position in pickletools.genops(content)][-1]
    except Exception:  # what it raises for other bytes depends on them
        return False
    return last == len(content) - 1
