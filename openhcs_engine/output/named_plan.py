"""A plan that a person names: a plan document, or a plate's output, which then means the plan it kept last."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ContextFileError, NotAnOutputError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.files.present import modified_ns
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.well_spans import format_spans
from openhcs_engine.model.wording import counted
from openhcs_engine.output.current import current_wells
from openhcs_engine.output.fits.stored import with_stored_fits
from openhcs_engine.output.layout import CONTEXTS
from openhcs_engine.output.opening import files_of, open_output
from openhcs_engine.output.plans import PLAN_ENDINGS, plan_documents, plan_files
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, unpacked

_OLDER_PLANS: Final = 10
"""Older plans of an output that are looked at for wells which the newest does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPlan:
    """A plan, and where it comes from."""

    source: str
    """Its file, for people."""
    contexts: Mapping[str, ProcessingContext]
    output: str | None = None
    """The plate's output, if that was named."""
    notes: tuple[str, ...] = ()
    """What a person should know: wells that only older plans of the output have."""


def read_given_plan(address: str) -> GivenPlan:
    """Read a plan document, or the plan that a plate's output kept last.

    Parameters
    ----------
    address
        A file (as ``openhcs compile --json`` prints it, or of ``contexts/``), a plate's output folder, or its URL.

    Raises
    ------
    ContextFileError
        If there is no such file, or it is no plan document that this version reads.
    NotAnOutputError
        If the folder holds no plan.
    """
    if is_remote(address):
        return _of_output(address, _remote_documents(address))
    path = local_folder(address)
    if path.is_dir():
        return _of_output(str(path), _local_documents(path))
    return GivenPlan(source=str(path), contexts=_contexts(_content(path), str(path)))


def published_with(output: str, contexts: Mapping[str, ProcessingContext]) -> tuple[str, ...]:
    """Wells that the output holds whole as these contexts make them, those made before the update included."""
    backend = next(iter(contexts.values())).output.backend
    current = current_wells(open_output(output, backend), as_stored(output, contexts))
    return (*current.unchanged, *current.made_before)


def as_stored(output: str, contexts: Mapping[str, ProcessingContext]) -> Mapping[str, ProcessingContext]:
    """The contexts with what the output holds in place of fits of which it lacks images."""
    backend = next(iter(contexts.values())).output.backend
    return with_stored_fits(open_output(output, backend).fits, contexts)


def _of_output(address: str, documents: Iterator[tuple[str, bytes]]) -> GivenPlan:
    newest = next(documents, None)
    if newest is None:
        raise NotAnOutputError(
            f"{address} holds no plan ({CONTEXTS}/*{PLAN_ENDINGS[0]}); give a plate's output folder, which is "
            "<output>/<plate id>, or the file of a plan.",
            path=address,
        )
    name, content = newest
    source = f"{address}/{name}"
    contexts = _contexts(content, source)
    older = [wells for _, (_, other) in zip(range(_OLDER_PLANS), documents, strict=False) if (wells := _wells(other))]
    return GivenPlan(
        source=source, contexts=contexts, output=address, notes=tuple(_other_wells(source, contexts, older))
    )


def _other_wells(source: str, contexts: Mapping[str, ProcessingContext], older: Sequence[list[str]]) -> Iterator[str]:
    others = {well for wells in older for well in wells} - contexts.keys()
    if others:
        count = counted(len(contexts), "well")
        yield (
            f"{source} is the plan that was written last, and is for {count} only; older plans beside it have "
            f"{format_spans(others)}, too. Name the file of one to compare with it."
        )


def _local_documents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Plans of a folder, the one written last first."""
    paths = sorted(plan_files(folder), key=lambda path: (modified_ns(path), path.name))
    return ((f"{CONTEXTS}/{path.name}", _content(path)) for path in reversed(paths))


def _remote_documents(address: str) -> Iterator[tuple[str, bytes]]:
    files = files_of(address)
    return ((path, files.read(path)) for path in reversed(plan_documents(files.by_path())))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "there is no such file or folder" if isinstance(error, FileNotFoundError) else explained(error)
        raise ContextFileError(
            f"{os.fspath(path)} cannot be read as a plan: {reason}. Give the JSON of openhcs compile --json, a file of "
            f"{CONTEXTS}/, or a plate's output folder."
        ) from error


def _contexts(content: bytes, source: str) -> Mapping[str, ProcessingContext]:
    try:
        contexts = contexts_from_json(content)
    except ContextFileError as error:
        raise ContextFileError(f"{source}: {error}") from error
    if not contexts:
        raise ContextFileError(f"{source} is the plan of no well; compile the plate again.")
    return contexts


class _Wells(msgspec.Struct):
    wells: dict[str, msgspec.Raw]


def _wells(content: bytes) -> list[str]:
    """Wells of a plan, without looking at anything else in it; none if it is damaged."""
    try:
        return list(msgspec.json.decode(unpacked(content), type=_Wells).wells)
    except (msgspec.MsgspecError, ContextFileError):
        return []


__all__ = ["GivenPlan", "as_stored", "published_with", "read_given_plan"]
