"""The one place where array libraries are imported: some of them kill the process if they come in the wrong order.

TensorFlow's wheel shows its own LLVM to all that is loaded after it. An OpenCL driver that compiles with LLVM and is
loaded later mixes the two, and the process dies with a segmentation fault. Loaded before TensorFlow, it keeps its own.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Final

from openhcs_engine.errors import LibraryUnavailableError

OPENCL_USER: Final = "pyclesperanto"
SHOWS_ITS_LLVM: Final = "tensorflow"
OPENCL_LOADER: Final = "libOpenCL.so.1"
DRIVERS: Final = Path("/etc/OpenCL/vendors")
"""Each file in it names one driver.
Source: https://registry.khronos.org/OpenCL/specs/unified/html/OpenCL_Ext.html#cl_khr_icd-opencl"""

_lock: Final = RLock()  # two threads must not decide about the order at once


def is_installed(package: str) -> bool:
    """Whether a package can be found, without importing it; not if something on the import path hides it."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a finder that blocks it; a stand-in without a spec
        return False


def load_framework(package: str) -> ModuleType:
    """Import an array library, in an order that all of them survive.

    Parameters
    ----------
    package
        Name it is imported by, such as ``torch``.

    Raises
    ------
    LibraryUnavailableError
        If it is not installed, or cannot be imported any more in this process.
    """
    if package in sys.modules:  # without the lock: another library's import takes seconds
        return _import(package)
    with _lock:
        if package == SHOWS_ITS_LLVM:
            load_opencl_drivers()
        if package == OPENCL_USER:
            _refuse_late_opencl()
        return _import(package)


def load_opencl_drivers() -> None:
    """Load the OpenCL drivers of this host, if pyclesperanto is installed to use them.

    To be called before anything that might import TensorFlow, such as a user's module. Does nothing where it was called
    before, or where it is too late for it.
    """
    with _lock:
        if not is_installed(OPENCL_USER) or not sys.modules.keys().isdisjoint((OPENCL_USER, SHOWS_ITS_LLVM)):
            return
        try:
            loader = ctypes.CDLL(OPENCL_LOADER)
        except OSError:  # the host has no loader of its own; pyclesperanto brings one
            importlib.import_module(OPENCL_USER)
        else:
            _bind_drivers()
            loader.clGetPlatformIDs(0, None, ctypes.byref(ctypes.c_uint()))


def _bind_drivers() -> None:
    """Load the drivers that OpenCL's loader will find, each with all that it calls.

    The loader has the calls of a driver looked up one by one when they are first made. Those made after TensorFlow came
    would find its LLVM, and no kernel could be compiled ("unknown target CPU"); ``ctypes`` has them looked up now.
    """
    for listed in sorted(DRIVERS.glob("*.icd")):
        with suppress(OSError):  # the loader passes over it, too
            ctypes.CDLL(listed.read_text().strip())


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise LibraryUnavailableError(
            f"{package} cannot be imported: {error}. Install it (pip install 'openhcs-dagster[{package}]'), "
            "or use functions of another array library.",
            library=package,
        ) from error


def _refuse_late_opencl() -> None:
    if SHOWS_ITS_LLVM in sys.modules and not _drivers_are_loaded():
        raise LibraryUnavailableError(
            f"{OPENCL_USER} cannot be loaded any more, because {SHOWS_ITS_LLVM} was imported before the OpenCL drivers "
            f"and this process would crash. Import {OPENCL_USER} first, or leave the order to the engine: import "
            f"{SHOWS_ITS_LLVM} inside your functions, not at the top of their module.",
            library=OPENCL_USER,
        )


def _drivers_are_loaded() -> bool:
    """Whether an OpenCL driver or loader is mapped into this process, whoever loaded it."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123 a pseudo-file
            return "libOpenCL" in maps.read()
    except OSError:
        return False
