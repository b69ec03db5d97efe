"""From contexts to JSON and back; on disk the JSON is compressed."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from openhcs_engine.errors import ContextFileError, ContextFormatError
from openhcs_engine.laws.now import LAW
from openhcs_engine.model.digest import canonical_json, digest
from openhcs_engine.model.frozen import decode_frozen
from openhcs_engine.model.image_index import ImageIndex, OnMissing
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import is_well, plate_order
from openhcs_engine.plan import format_two
from openhcs_engine.plan.context import (
    OutputPlan,
    ProcessingContext,
    StagePosition,
    StepPlan,
    plan_fingerprint,
    steps_digest,
)
from openhcs_engine.plan.fit import FitEntry, FitStep
from openhcs_engine.plan.plane_table import PlaneTable

FORMAT: Final = 3
"""Version of the plan document; has no part in fingerprints."""
MAX_BYTES: Final = 2**31
"""Of a document: 1,536 wells of 10,000 planes take 1.5 GB. What unpacks to more is refused while it is unpacked."""

_AGAIN: Final = "Compile the plate again."


class _WellEntry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    fingerprint: str
    devices: tuple[str, ...] = ()
    stage_um: tuple[StagePosition, ...] = ()
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
    index: msgspec.Raw
    """See plane_table."""
    wells: dict[str, _WellEntry]
    law: int = 1
    """Of its fingerprints; documents without a law are of the first."""
    fits: tuple[FitEntry, ...] | msgspec.UnsetType = msgspec.UNSET
    """What is fitted once a plate; absent where nothing is."""
    explained: Any = msgspec.UNSET  # Any: JSON for people, which nothing reads back

    @property
    def fit_steps(self) -> tuple[FitStep, ...]:
        """The declared fits."""
        return () if self.fits is msgspec.UNSET else tuple(entry.step for entry in self.fits)


class _Head(msgspec.Struct):
    format: int


def contexts_to_json(contexts: Mapping[str, ProcessingContext], explained: Mapping[str, object] | None = None) -> bytes:
    """The plan document of one compilation; all contexts share plate, steps and output.

    ``explained`` says in JSON what follows from the plan, for people and tools; reading the document ignores it.

    Raises
    ------
    ContextFileError
        If a plane's path leads out of the plate folder, or the document would be too large to be read again.
    """
    first = next(iter(contexts.values()))
    try:
        index = canonical_json(PlaneTable.of({well: context.index for well, context in contexts.items()}))
        fits = tuple(map(FitEntry.of, first.fits))
    except ValueError as error:
        raise ContextFileError(f"This plan cannot be kept: {error}. Read the plate again.") from error
    document = canonical_json(
        _Document(
            format=FORMAT,
            fingerprint=plan_fingerprint(contexts.values()),
            plate=first.plate,
            steps=first.steps,
            output=first.output,
            versions=first.versions,
            pipeline_digest=first.pipeline_digest,
            on_missing=first.on_missing,
            index_sha256=hashlib.sha256(index).hexdigest(),
            index=msgspec.Raw(index),
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
            fits=fits or msgspec.UNSET,
            explained=msgspec.UNSET if explained is None else explained,
        )
    )
    if len(document) > MAX_BYTES:
        raise ContextFileError(
            f"This plan cannot be kept: its document would have {len(document):,} bytes, and the largest has "
            f"{MAX_BYTES:,}. Compile fewer wells at a time."
        )
    return document


def packed(document: bytes) -> bytes:
    """The document compressed as gzip does it, without name and time: equal documents give equal files."""
    return gzip.compress(document, 6, mtime=0)  # 9 takes three times as long, and made no plan smaller


def unpacked(content: bytes) -> bytes:
    """The document of a file, be it compressed or not.

    Raises
    ------
    ContextFileError
        If it is damaged, or larger than any plan.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        document = stream.decompress(content, MAX_BYTES)
    except zlib.error as error:
        raise ContextFileError(f"The compressed plan document is damaged: {error}. {_AGAIN}") from error
    if stream.unconsumed_tail:
        raise ContextFileError(f"The plan document has more than {MAX_BYTES:,} bytes, which no plan has. {_AGAIN}")
    if not stream.eof or stream.unused_data:
        what = "has something behind its end" if stream.eof else "ends before its end"
        raise ContextFileError(f"The compressed plan document {what}. {_AGAIN}")
    return document


def contexts_from_json(document: bytes) -> dict[str, ProcessingContext]:
    """Read a plan document back, compressed or not; the contexts equal those that were written, in plate order.

    Raises
    ------
    ContextFileError
        If the document is of another version, has unknown fields, contradicts itself, or does not match its own
        fingerprints.
    """
    parsed = _parse(document)
    if parsed.steps and steps_digest(parsed.steps, parsed.law, parsed.fit_steps) != parsed.pipeline_digest:
        raise ContextFileError(
            "The plan document names functions or parameters that its pipeline did not declare; it was changed after "
            f"it was written. {_AGAIN}"
        )
    index = _index(parsed)
    contexts = _contexts(parsed, _planes(parsed, index))
    is_whole = plan_fingerprint(contexts.values()) == parsed.fingerprint and digest(index) == parsed.index_sha256
    changed = [well for well, context in contexts.items() if context.fingerprint != parsed.wells[well].fingerprint]
    if changed or not is_whole:
        raise ContextFileError(
            f"The plan document was changed after it was written (wells {', '.join(changed) or 'none'} do not match "
            "their fingerprints); compile the plate again."
        )
    return contexts


def _contexts(parsed: _Document, indexes: Mapping[str, ImageIndex]) -> dict[str, ProcessingContext]:
    fits = () if parsed.fits is msgspec.UNSET else tuple(entry.plan() for entry in parsed.fits)
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
            fits=fits,
        )
        for well, entry in sorted(parsed.wells.items(), key=_position)
    }


def _position(item: tuple[str, _WellEntry]) -> tuple[bool, tuple[int, int]]:
    """In plate order, where canonical JSON has AA01 before B01; names that are no wells, of tests, come last."""
    known = is_well(item[0])
    return not known, plate_order(item[0]) if known else (0, 0)


def _parse(document: bytes) -> _Document:
    document = unpacked(document)
    try:
        parsed = msgspec.json.decode(document, type=_Document, dec_hook=decode_frozen)
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
    if stated not in _INDEXES:
        raise ContextFormatError(
            f"The plan document has format {stated}; this version reads the formats "
            f"{' and '.join(map(str, _INDEXES))}. {_AGAIN}",
            format=stated,
        )


_Index: TypeAlias = PlaneTable | format_two.PlaneIndex
_INDEXES: Final[Mapping[int, type[_Index]]] = {format_two.FORMAT: format_two.PlaneIndex, FORMAT: PlaneTable}


def _index(parsed: _Document) -> _Index:
    try:
        return msgspec.json.decode(parsed.index, type=_INDEXES[parsed.format])
    except msgspec.MsgspecError as error:
        raise ContextFileError(f"This is not a plan document of format {parsed.format}: {error}.") from error


def _planes(parsed: _Document, index: _Index) -> dict[str, ImageIndex]:
    """The planes of each well, as the document's index has them."""
    try:
        planes = index.by_well()
    except ValueError as error:
        raise ContextFileError(f"The planes of the plan document are damaged: {error}. {_AGAIN}") from error
    if odd := planes.keys() - parsed.wells.keys():
        raise ContextFileError(f"The plan document names well {min(odd)} without its fingerprint. {_AGAIN}")
    return {well: planes.get(well, ImageIndex(())) for well in parsed.wells}


__all__ = ["FORMAT", "contexts_from_json", "contexts_to_json", "packed", "unpacked"]
