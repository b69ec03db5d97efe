"""From contexts to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from openhcs_engine.errors import ContextFileError, ContextFormatError
from openhcs_engine.laws.now import LAW
from openhcs_engine.model.digest import canonical_json, digest
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.image_index import ImageIndex, OnMissing
from openhcs_engine.model.plate import Plate
from openhcs_engine.plan.context import (
    OutputPlan,
    ProcessingContext,
    StagePlace,
    StepPlan,
    plan_fingerprint,
    steps_digest,
)
from openhcs_engine.plan.plane_table import PlaneIndex, decode_planes, encode_planes

FORMAT: Final = 2
"""Version of the plan document; has no part in fingerprints."""

_AGAIN: Final = "Compile the plate again."


class _WellEntry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    fingerprint: str
    devices: tuple[str, ...] = ()
    stage_um: tuple[StagePlace, ...] = ()
    beyond_plan: int = 0


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    fingerprint: str
    plate: Plate
    steps: tuple[StepPlan, ...]
    output: OutputPlan
    versions: tuple[str, ...]
    pipeline_digest: str
    on_missing: OnMissing
    index_sha256: str
    index: PlaneIndex
    wells: dict[str, _WellEntry]
    law: int = 1
    """Of its fingerprints; documents without a law are of the first."""
    explained: Any = msgspec.UNSET  # Any: JSON for people, which nothing reads back


class _Head(msgspec.Struct):
    format: int


def contexts_to_json(contexts: Mapping[str, ProcessingContext], explained: Mapping[str, object] | None = None) -> bytes:
    """The plan document of one compilation; all contexts share plate, steps and output.

    ``explained`` says in JSON what follows from the plan, for people and tools; reading the document ignores it.

    Raises
    ------
    ContextFileError
        If a plane's path leads out of the plate folder, or there are more planes than a plan can have.
    """
    first = next(iter(contexts.values()))
    try:
        index = encode_planes({well: context.index for well, context in contexts.items()})
    except ValueError as error:
        raise ContextFileError(f"This plan cannot be kept: {error}. Read the plate again.") from error
    return canonical_json(
        _Document(
            format=FORMAT,
            fingerprint=plan_fingerprint(contexts.values()),
            plate=first.plate,
            steps=first.steps,
            output=first.output,
            versions=first.versions,
            pipeline_digest=first.pipeline_digest,
            on_missing=first.on_missing,
            index_sha256=digest(index),
            index=index,
            law=first.law,
            wells={
                well: _WellEntry(
                    context.fingerprint,
                    devices=context.devices,
                    stage_um=context.stage_um,
                    beyond_plan=context.beyond_plan,
                )
                for well, context in contexts.items()
            },
            explained=msgspec.UNSET if explained is None else explained,
        )
    )


def contexts_from_json(document: bytes) -> dict[str, ProcessingContext]:
    """Read a plan document back; the contexts equal those that were written.

    Raises
    ------
    ContextFileError
        If the document is of another version, has unknown fields, contradicts itself, or does not match its own
        fingerprints.
    """
    parsed = _parse(document)
    if parsed.steps and steps_digest(parsed.steps, parsed.law) != parsed.pipeline_digest:
        raise ContextFileError(
            "The plan document names functions or parameters that its pipeline did not declare; it was changed after "
            f"it was written. {_AGAIN}"
        )
    contexts = _contexts(parsed, _indexes(parsed))
    is_whole = plan_fingerprint(contexts.values()) == parsed.fingerprint and digest(parsed.index) == parsed.index_sha256
    changed = [well for well, context in contexts.items() if context.fingerprint != parsed.wells[well].fingerprint]
    if changed or not is_whole:
        raise ContextFileError(
            f"The plan document was changed after it was written (wells {', '.join(changed) or 'none'} do not match "
            "their fingerprints); compile the plate again."
        )
    return contexts


def _contexts(parsed: _Document, indexes: Mapping[str, ImageIndex]) -> dict[str, ProcessingContext]:
    return {
        well: ProcessingContext(
            well=well,
            plate=parsed.plate,
            steps=parsed.steps,
            index=indexes[well],
            output=parsed.output,
            versions=parsed.versions,
            pipeline_digest=parsed.pipeline_digest,
            on_missing=parsed.on_missing,
            devices=entry.devices,
            stage_um=entry.stage_um,
            beyond_plan=entry.beyond_plan,
            law=parsed.law,
        )
        for well, entry in parsed.wells.items()
    }


def _parse(document: bytes) -> _Document:
    try:
        parsed = msgspec.json.decode(document, type=_Document, dec_hook=_decode_extra)
    except (msgspec.MsgspecError, ValueError) as error:
        _refuse_other(_stated_format(document))
        raise ContextFileError(f"This is not a plan document of format {FORMAT}: {error}.") from error
    _refuse_other(parsed.format)
    if parsed.law > LAW:
        raise ContextFormatError(
            f"The plan document is of law {parsed.law} of fingerprints; this version knows laws up to {LAW}. {_AGAIN}",
            format=parsed.format,
        )
    return parsed


def _stated_format(document: bytes) -> int:
    """The format of a document whose other fields may be any; the current one where it states none."""
    try:
        return msgspec.json.decode(document, type=_Head).format
    except (msgspec.MsgspecError, ValueError):
        return FORMAT


def _refuse_other(stated: int) -> None:
    if stated != FORMAT:
        raise ContextFormatError(
            f"The plan document has format {stated}; this version reads format {FORMAT}. {_AGAIN}", format=stated
        )


def _indexes(parsed: _Document) -> dict[str, ImageIndex]:
    """The planes of each well, as the document's index has them."""
    try:
        indexes = decode_planes(parsed.index)
    except ValueError as error:
        raise ContextFileError(f"The planes of the plan document are damaged: {error}. {_AGAIN}") from error
    if indexes.keys() != parsed.wells.keys():
        odd = min(indexes.keys() ^ parsed.wells.keys())
        raise ContextFileError(f"The plan document names well {odd} without its planes or its fingerprint. {_AGAIN}")
    return indexes


def _decode_extra(wanted: type[Any], value: object) -> object:
    if wanted is FrozenMap and isinstance(value, dict):
        return FrozenMap.of(value)
    raise NotImplementedError(f"no decoder for {wanted}")  # msgspec's contract for hooks


__all__ = ["FORMAT", "contexts_from_json", "contexts_to_json"]
