"""``inbox.json``: which folder is watched, and what is done with the plates that arrive there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from openhcs_dagster.catalogue.catalogue import remote_output
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.files.address import local_folder
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wording import unknown_options
from openhcs_engine.plan.run_options import RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A folder into which microscopes write plates, and what to do with what arrives."""

    folder: Path
    pipeline: str
    """``module:attribute`` for every plate that arrives."""
    search_path: tuple[str, ...] = ()
    output: Path
    options: RunOptions = field(default_factory=RunOptions)
    """How the plates are run."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How their folders are read, where detection is not enough."""

    @classmethod
    def read(cls, file: Path) -> Inbox | str:
        """The inbox that a JSON file describes, or the sentence that says what is missing or wrong.

        The options of running and reading stand in it under the names that they have everywhere. Relative paths start
        where it lies.
        """
        if not file.is_file():
            return f"No inbox is configured: write {file} as in {_EXAMPLE}."
        try:
            document = msgspec.json.decode(file.read_bytes(), type=dict[str, object])
            return cls._of(document, file.parent)
        except (msgspec.MsgspecError, OpenHCSError, OSError, ValueError) as error:
            return f"The inbox file {file} cannot be used: {explained(error)}. Write it as in {_EXAMPLE}."

    @classmethod
    def _of(cls, document: Mapping[str, object], beside: Path) -> Inbox:
        valid = (*_PLACES, *(option.name for kind in (RunOptions, ReadOptions) for option in fields(kind)))
        if unknown := unknown_options(document, valid):
            raise ValueError(unknown)
        if lacking := [key for key in _NEEDED if key not in document]:
            raise ValueError(f"it says no {' and no '.join(lacking)}")
        options, reading = _part(document, RunOptions).beside(beside), _part(document, ReadOptions)
        output = msgspec.convert(document["output"], str)
        if complaint := options.complaint() or remote_output(output):
            raise ValueError(complaint)
        reading = replace(
            reading, planes_csv=_beside(beside, reading.planes_csv), plate_map=_beside(beside, reading.plate_map)
        )
        reading.handlers()  # raises if no format can be meant
        return cls(
            folder=beside / local_folder(msgspec.convert(document["folder"], str)),
            pipeline=msgspec.convert(document["pipeline"], str),
            search_path=msgspec.convert(document.get("search_path", ()), tuple[str, ...]),
            output=beside / local_folder(output),
            options=options,
            reading=reading,
        )


_NEEDED: Final = ("folder", "pipeline", "output")

_PLACES: Final = (*_NEEDED, "search_path")

_EXAMPLE: Final = '{"folder": "/data/inbox", "pipeline": "my_lab:nuclei", "output": "/data/results"}'

_Options = TypeVar("_Options", RunOptions, ReadOptions)


def _part(document: Mapping[str, object], kind: type[_Options]) -> _Options:
    """Those options of a document that are of one kind."""
    names = {option.name for option in fields(kind)}
    return msgspec.convert({key: value for key, value in document.items() if key in names}, kind)


def _beside(folder: Path, file: str | None) -> str | None:
    return None if file is None else str(folder / Path(file).expanduser())
