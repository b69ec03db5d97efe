"""Where the planes between a well's steps are kept: the user's choice, which changes no pixel."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openhcs_engine.errors import OptionError
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.memory import MemoryBackend
from openhcs_engine.vfs.raw import is_remote, local_folder
from openhcs_engine.vfs.registry import StorageRegistry, default_storage
from openhcs_engine.vfs.unfinished import sweep, unfinished_folder

MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchPlan:
    """Where one well's intermediates go. Not part of any fingerprint."""

    backend: str = MEMORY
    """``memory``, ``disk``, ``zarr``, or ``module:Class`` of a backend of the user's own."""
    root: str | None = None
    """Folder, such as one on a fast local disk, or fsspec URL; None: the run's own staging folder."""
    budget_bytes: int | None = None
    """The most that one well may hold in memory; None: no limit."""

    def check(self, registry: StorageRegistry | None = None) -> None:
        """Refuse what cannot be: at compile, before anything is read.

        Raises
        ------
        UnknownBackendError
            If the backend is not known and cannot be imported.
        OptionError
            If the budget is not positive, or is given for a backend that is not memory.
        """
        (registry or default_storage("")).factory(self.backend)
        if self.budget_bytes is None:
            return
        if self.backend != MEMORY:
            raise OptionError(
                f"A memory budget has no meaning for intermediates in {self.backend!r}; leave it out, or keep them in "
                "memory.",
                option="budget_bytes",
            )
        MemoryBackend(budget_bytes=self.budget_bytes)


@contextmanager
def open_scratch(plan: ScratchPlan, staging: Path, well: str) -> Iterator[StorageBackend]:
    """The backend of one well's intermediates; all that it holds is gone at the end, however the well ends.

    What a killed run left in a local folder is removed when the next one opens its scratch there; in ``staging`` it
    goes with the run's own remains. Behind a URL it stays below ``openhcs-scratch/``: let the bucket expire that.

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
    with _own_place(plan, staging, well) as place:
        backend = default_storage(place).get(plan.backend)
        try:
            yield backend
        finally:
            backend.clear()


@contextmanager
def _own_place(plan: ScratchPlan, staging: Path, well: str) -> Iterator[str]:
    if plan.root is not None and is_remote(plan.root):
        yield f"{plan.root.rstrip('/')}/openhcs-scratch/{well}-{uuid.uuid4().hex}"
        return
    folder = staging if plan.root is None else local_folder(plan.root).absolute() / "openhcs-scratch"
    if plan.root is not None:
        sweep(folder)
    with unfinished_folder(folder / well) as place:
        yield str(place)


__all__ = ["ScratchPlan", "open_scratch"]
