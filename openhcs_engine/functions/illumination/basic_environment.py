"""The environment of its own that basicpy needs: where it lies, and whether it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

BASICPY_VERSION: Final = "2.0.0"


def basic_folder() -> Path:
    """Inside the environment that runs this; ``make basicpy`` creates it."""
    return Path(sys.prefix) / "basicpy"


def basic_python(folder: Path) -> Path:
    """Its interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def basic_is_missing(folder: Path) -> str | None:
    """A sentence where it is not there, or has another version; nothing is started to see this."""
    packages = folder.glob("Lib/site-packages/*" if os.name == "nt" else "lib/python*/site-packages/*")
    wanted = f"basicpy-{BASICPY_VERSION}.dist-info"
    if basic_python(folder).exists() and any(each.name.lower() == wanted for each in packages):
        return None
    return (
        f"BaSiC is computed by basicpy {BASICPY_VERSION}, which needs an older NumPy and SciPy and so an environment "
        f"of its own, and {folder} is none that holds it. Create it with `make basicpy` (or `{sys.executable} -m venv "
        f"{folder}` and `{basic_python(folder)} -m pip install basicpy=={BASICPY_VERSION}`), or fit with flat_field."
    )


__all__ = ["BASICPY_VERSION", "basic_folder", "basic_is_missing", "basic_python"]
