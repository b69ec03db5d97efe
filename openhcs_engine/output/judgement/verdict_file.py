"""``verdicts.json``: what was decided about a plate, beside its results; runs never touch it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ManifestError
from openhcs_engine.files.atomic import write_whole
from openhcs_engine.files.links import refuse_links
from openhcs_engine.files.locks import locked
from openhcs_engine.model.judgement.verdict import Verdict
from openhcs_engine.output.layout import VERDICTS
from openhcs_engine.output.preflight import output_errors

FORMAT: Final = 1
"""Version of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdicts:
    """The file's content."""

    format: int = FORMAT
    plate: str
    verdicts: tuple[Verdict, ...]
    """The newest last."""


def read_verdicts(folder: Path) -> tuple[Verdict, ...]:
    """Everything that was decided about the plate of an output folder, the newest last; empty if nothing was.

    Raises
    ------
    ManifestError
        If the file is damaged: what was decided is not known then, which is not the same as nothing.
    """
    try:
        content = (folder / VERDICTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    try:
        found = msgspec.json.decode(content, type=_Verdicts)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ManifestError(
            f"{folder / VERDICTS} is damaged ({error}), so that nobody knows what was decided about this plate; put "
            "back a copy of it, or remove it and decide again.",
            path=VERDICTS,
        ) from error
    if found.format != FORMAT:
        raise ManifestError(
            f"{folder / VERDICTS} was written by another version of this software (format {found.format}, known: "
            f"{FORMAT}); use that version, or remove the file and decide again.",
            path=VERDICTS,
        )
    return found.verdicts


def add_verdict(folder: Path, plate: str, verdict: Verdict) -> tuple[Verdict, ...]:
    """Write a decision behind the earlier ones, and return them all; the file is replaced whole.

    Two persons who decide at the same time come one after the other.

    Raises
    ------
    ManifestError
        If the file is damaged; it is left as it is.
    OutputPlaceError
        If the file cannot be written.
    """
    with output_errors(folder, "writing what was decided"), locked(folder):
        refuse_links(folder, [VERDICTS])
        verdicts = (*read_verdicts(folder), verdict)
        document = msgspec.json.encode(_Verdicts(plate=plate, verdicts=verdicts))
        write_whole(folder / VERDICTS, msgspec.json.format(document, indent=2))
    return verdicts


__all__ = ["add_verdict", "read_verdicts"]
