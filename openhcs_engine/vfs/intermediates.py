"""Where the planes between a well's steps are kept: the user's choice, which changes no pixel."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from openhcs_engine.errors import (
    OpenHCSError,
    OptionError,
    OutputPlaceError,
    StorageError,
    UnknownBackendError,
    UnsafePathError,
)
from openhcs_engine.files.address import is_remote, local_folder, remote
from openhcs_engine.files.private import make_private_folder
from openhcs_engine.files.unfinished import sweep, unfinished_folder
from openhcs_engine.model.quantities.sizes import format_bytes, parse_bytes
from openhcs_engine.model.system_errors import explained
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.file_backend import FileBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.registry import StorageRegistry, default_storage, import_backend
from openhcs_engine.vfs.zarr import ZarrBackend

MEMORY: Final = "memory"
INTERMEDIATES: Final = (MEMORY, "disk", "zarr")
"""The backends that have a name; one of the user's own is ``module:Class``."""
_FOLDER: Final = "openhcs-scratch"
"""Below a folder or URL that the user gave, which holds other things, too."""
_ANOTHER: Final = "remove it, or choose another scratch folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchPlan:
    """Where one well's intermediates go. Not part of any fingerprint."""

    backend: str = MEMORY
    """``memory``, ``disk``, ``zarr``, or ``module:Class`` of a backend of the user's own."""
    root: str | None = None
    """Folder, such as one on a fast local disk, or fsspec URL; None: the run's own staging folder."""
    budget_bytes: int | None = None
    """The most that one well may hold in memory; None: no limit."""

    @classmethod
    def of(
        cls,
        intermediates: str = MEMORY,
        scratch: str | Path | None = None,
        memory_budget: int | float | str | None = None,
    ) -> Self:
        """The plan that a user's options mean; whether a backend of their own can be imported is left to ``check``.

        Raises
        ------
        OptionError
            If an option cannot be, or has no meaning beside the others; the message says what can.
        """
        if intermediates not in INTERMEDIATES and not all(str(intermediates).partition(":")):
            raise OptionError(
                f"intermediates={intermediates!r} is unknown (choose from {', '.join(INTERMEDIATES)}, or module:Class "
                "of a backend of your own).",
                option="intermediates",
            )
        plan = cls(
            backend=intermediates,
            root=None if scratch is None else _absolute(str(scratch)),
            budget_bytes=None if memory_budget is None else _budget(memory_budget),
        )
        for fault in plan._misplaced_options():
            raise fault
        return plan

    def check(self) -> None:
        """Raise the first of the ``faults``: at compile, before anything is read."""
        for fault in self.faults():
            raise fault

    def faults(self, plate_root: str | None = None) -> Iterator[OpenHCSError]:
        """Why planes cannot be kept so, as errors that nobody raised.

        An UnknownBackendError if the backend is not known or cannot be imported; an OptionError for the rest: a budget
        that is not positive, options without a meaning, a URL of an unknown kind, a folder in the raw plate.

        Parameters
        ----------
        plate_root
            Folder or URL of the raw plate, which is never written to.
        """
        try:
            default_storage("").factory(self.backend)
        except UnknownBackendError as error:
            yield error
        else:
            yield from self._misplaced_options()
            yield from self._impossible_root(plate_root)

    @property
    def folder(self) -> Path | None:
        """The folder of this host in which scratch of all runs lies that were given the same root; None: another."""
        if self.backend == MEMORY or self.root is None or is_remote(self.root):
            return None
        return local_folder(self.root).absolute() / _FOLDER

    @property
    def fills_disk(self) -> bool:
        """True if the intermediates become files of this host."""
        if self.backend == MEMORY or (self.root is not None and is_remote(self.root)):
            return False
        return self.backend in INTERMEDIATES or issubclass(import_backend(self.backend), FileBackend)

    @property
    def summary(self) -> str:
        """As a person reads it: ``memory, at most 2.0 GB a well`` or ``disk, in /fast/openhcs-scratch``."""
        if self.backend == MEMORY:
            return (
                MEMORY if self.budget_bytes is None else f"{MEMORY}, at most {format_bytes(self.budget_bytes)} a well"
            )
        return f"{self.backend}, in {self.folder or self.root or 'the staging folder of the run'}"

    def _misplaced_options(self) -> Iterator[OptionError]:
        """Options that have no meaning beside the backend."""
        if self.backend == MEMORY and self.root is not None:
            yield OptionError(
                f"scratch={self.root!r} has no meaning for intermediates in memory; leave it out, or choose "
                "intermediates disk or zarr.",
                option="scratch",
            )
        if self.budget_bytes is None:
            return
        if self.backend != MEMORY:
            yield OptionError(
                f"A memory budget has no meaning for intermediates in {self.backend!r}; leave it out, or keep them in "
                "memory.",
                option="memory_budget",
            )
        elif self.budget_bytes <= 0:
            yield OptionError(
                f"A memory budget must be positive, not {self.budget_bytes} bytes.", option="memory_budget"
            )

    def _impossible_root(self, plate_root: str | None) -> Iterator[OptionError]:
        if self.root is None:
            return
        if plate_root is not None and _meet(self.root, plate_root):
            yield OptionError(
                f"scratch={self.root!r} meets the raw plate {plate_root}, which is never written to; choose another "
                "folder.",
                option="scratch",
            )
        if is_remote(self.root) and self.backend in INTERMEDIATES:
            try:
                remote(self.root)
            except StorageError as error:
                yield OptionError(f"scratch={self.root!r}: {error}", option="scratch")


@contextmanager
def open_scratch(plan: ScratchPlan, staging: Path, well: str) -> Iterator[StorageBackend]:
    """The backend of one well's intermediates; all that it holds is gone at the end, however the well ends.

    What a killed worker left in a folder is removed when the next well opens its scratch there, or by
    ``swept_scratch``. Behind a URL it stays below ``openhcs-scratch/``: let the bucket expire that.

    Parameters
    ----------
    plan
        The user's choice.
    staging
        The run's folder for unfinished wells.
    well
        Its name; part of the address behind a URL.
    """
    if plan.backend == MEMORY:
        memory = MemoryBackend(budget_bytes=plan.budget_bytes)
        try:
            yield memory
        finally:
            memory.clear()
        return
    with _own_root(plan, staging, well) as root:
        backend = _soon_read_again(default_storage(root)).get(plan.backend)
        try:
            yield backend
        except BaseException:
            with suppress(StorageError, OSError):  # why the well failed matters more
                backend.clear()
            raise
        backend.clear()


@contextmanager
def swept_scratch(plan: ScratchPlan) -> Iterator[None]:
    """A run: at its begin and end what dead workers left in the user's folder goes; what others use stays."""
    try:
        _sweep(plan)
        yield
    finally:
        _sweep(plan)


@contextmanager
def _own_root(plan: ScratchPlan, staging: Path, well: str) -> Iterator[str]:
    if plan.root is not None and is_remote(plan.root):
        yield f"{plan.root.rstrip('/')}/{_FOLDER}/{well}-{uuid.uuid4().hex}"
        return
    folder = plan.folder or staging / "scratch"
    try:
        with ExitStack() as held:
            try:
                if plan.folder is None:
                    folder.mkdir(exist_ok=True)  # a staging folder that was swept is not made again
                else:
                    make_private_folder(folder, _ANOTHER)
                sweep(folder)
                root = held.enter_context(unfinished_folder(folder / well))
                if plan.folder is not None:  # another well's end may have removed it, and this one's begin made it anew
                    make_private_folder(folder, _ANOTHER)
            except UnsafePathError:
                raise
            except OSError as error:
                raise OutputPlaceError(
                    f"Intermediates cannot be kept in {folder} ({explained(error)}); choose another scratch folder.",
                    path=str(folder),
                ) from error
            yield str(root)
    finally:
        _remove_if_empty(folder)


def _soon_read_again(storage: StorageRegistry) -> StorageRegistry:
    """The same backends, with the compression that costs least time."""
    return storage.adding("zarr", partial(ZarrBackend, compression="lz4"))


def _sweep(plan: ScratchPlan) -> None:
    if plan.folder is not None and os.path.lexists(plan.folder):
        make_private_folder(plan.folder, _ANOTHER)
        sweep(plan.folder)
        _remove_if_empty(plan.folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # others use it
        folder.rmdir()


def _budget(size: int | float | str) -> int:
    try:
        return parse_bytes(size)
    except ValueError as error:
        raise OptionError(f"memory_budget={error}", option="memory_budget") from error


def _absolute(root: str) -> str:
    """A folder by its full name: workers may stand elsewhere."""
    return root if is_remote(root) else str(local_folder(root).absolute())


def _meet(root: str, plate_root: str) -> bool:
    """True if scratch below ``root`` would lie in the plate, or be swept with the plate in it."""
    if is_remote(root) or is_remote(plate_root):
        return f"{root.rstrip('/')}/".startswith(f"{plate_root.rstrip('/')}/")
    scratch, plate = local_folder(root).resolve() / _FOLDER, local_folder(plate_root).resolve()
    return scratch.is_relative_to(plate) or plate.is_relative_to(scratch)


__all__ = ["INTERMEDIATES", "MEMORY", "ScratchPlan", "open_scratch", "swept_scratch"]
