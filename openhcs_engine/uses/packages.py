"""Whose a module is: the user's own, of an installed package, of Python, or of this product."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from enum import Enum, auto
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

from openhcs_engine.laws.now import OURS, PRODUCT

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_DISTRIBUTIONS: Final = {
    "PIL": "pillow",
    "cv2": "",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Of packages that are called otherwise than what is installed; asking all that is installed takes a while."""


class Whose(Enum):
    """Who answers for a module."""

    OWN = auto()
    """The user's: it is followed by its source, also in a checkout that was installed to be edited."""
    INSTALLED = auto()
    """A package with a version, which stands for all of it."""
    PYTHON = auto()
    """Python's own, or built in."""
    OURS = auto()
    """This product's."""


def whose(module_name: str | None) -> Whose:
    """Who answers for a module, imported or not."""
    if not module_name or module_name in {"builtins", "__builtin__"}:
        return Whose.PYTHON
    top = module_name.partition(".")[0]
    if top in OURS:
        return Whose.OURS
    if module_name not in sys.modules:
        module_name = top  # to look for a part of a package would import the package
    file = file_of(module_name)
    if file is None:
        return Whose.PYTHON if top in sys.stdlib_module_names and top != "__main__" else Whose.OWN
    return _of_file(file, top, module_name.count("."))


def file_of(module_name: str) -> str | None:
    """A module's file, or the folder of a package without one; None for what is built in or cannot be found."""
    module = sys.modules.get(module_name)
    if module is None:
        return _file_to_import(module_name)
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else next(iter(getattr(module, "__path__", ())), None)


def _file_to_import(module_name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin in {"built-in", "frozen"}:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


@cache
def _of_file(file: str, top: str, depth: int) -> Whose:
    path = Path(file)
    if not _INSTALLED.isdisjoint(path.parts):
        return Whose.INSTALLED
    if any(path.is_relative_to(folder) for folder in _python_folders()):
        return Whose.PYTHON
    above = depth + (path.stem == "__init__")
    root = path.parents[min(above, len(path.parents) - 1)] if path.parents else path
    return Whose.INSTALLED if _is_provided(root, top) else Whose.OWN


@cache
def _python_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[name]) for name in ("stdlib", "platstdlib")})


def _is_provided(root: Path, top: str) -> bool:
    """Whether a distribution that was installed into this very folder brings the package, as ``pip --target`` does."""
    if not any(root.glob("*.dist-info")):
        return False
    return any(
        top == file.parts[0].partition(".")[0]
        for distribution in metadata.distributions(path=[str(root)])
        for file in distribution.files or ()
        if file.parts
    )


def package_of(module_name: str) -> str:
    """``distribution==version`` of an installed module's package, several between commas; empty if nobody tells."""
    return _versions_of(module_name.partition(".")[0])


@cache
def _versions_of(top: str) -> str:
    for name in filter(None, (top, _DISTRIBUTIONS.get(top))):
        try:
            return f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    names = sorted(set(metadata.packages_distributions().get(top, ())))
    if names:
        return ", ".join(f"{name}=={metadata.version(name)}" for name in names)
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top}=={version}" if isinstance(version, str) else ""


@cache
def package_version(package: str) -> str:
    """``name==version`` of an importable package; empty for a module that is no installed package."""
    name = PRODUCT if package in OURS else package
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(package), "__version__", None)
        return f"{name}=={version}" if version else ""


def is_compiled(module: ModuleType) -> bool:
    """Whether a module has no source that could be read: its file is machine code."""
    return str(getattr(module, "__file__", "")).endswith((".so", ".pyd", ".dll"))


__all__ = ["Whose", "file_of", "is_compiled", "package_of", "package_version", "whose"]
