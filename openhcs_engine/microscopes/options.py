"""How a plate shall be read, where the user knows better than detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from openhcs_engine.errors import OptionError, PlateMapError
from openhcs_engine.microscopes.detect import DetectedMicroscope, default_handlers, detect_microscope
from openhcs_engine.microscopes.file_names.declared_wells import UNSAID, WellNumbering
from openhcs_engine.microscopes.file_names.handler import PatternHandler, PresetHandler, pattern_handler
from openhcs_engine.microscopes.file_names.planes_csv import CsvHandler
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.plate_map.file import dose_notes, join_plate_map, load_plate_map
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PlateMapColumns
from openhcs_engine.model.system_errors import explained
from openhcs_engine.model.wording import option

_SAID_BY_PEOPLE = (PatternHandler.name, CsvHandler.name)
"""Formats whose wells are what a person says of names or a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """One set of options, the same in the command line, the orchestrator and the catalogue of plates."""

    microscope: str | None = option(None, "The plate's format; default: found by content.", metavar="NAME")
    """Name of the format; None: found by content."""
    preset: str | None = option(None, "A known pattern of file names, for other formats.", metavar="NAME")
    """Name of a file-name pattern that this version knows."""
    pattern: str | None = option(None, "File names with named groups: well, site, channel …", metavar="REGEX")
    """A regular expression of file names with named groups."""
    planes_csv: str | None = option(None, "A table with a row for each plane.", metavar="FILE")
    """A table of planes."""
    count_from: int | None = option(
        None, "What names or a table call the first row, column or well.", metavar="0|1", kind=int
    )
    """What names and tables call the first row and column, or the first well: 0 or 1; None: 1, unless there is a 0."""
    plate_wells: int | None = option(
        None, "Plate format (96, 384 …) where names or a table number its wells.", metavar="N", kind=int
    )
    """Size of the plate's format (96, 384 …), where names or tables number its wells."""
    plate_map: str | None = option(None, "What was in the wells: CSV, XLSX, or a declaration.", metavar="FILE")
    """A table of conditions (CSV, XLSX), or a JSON file that names it and declares its columns."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:  # Any: each field has its own type
        """The options by their names; paths of files come to mean the same in every process."""
        files = {name: absolute(given.get(name)) for name in ("planes_csv", "plate_map")}
        return cls(**{**given, **files})

    @property
    def numbering(self) -> WellNumbering:
        """What numbers stand for wells; OptionError if they cannot."""
        return WellNumbering(count_from=self.count_from, plate_wells=self.plate_wells)

    def handlers(self, known: Sequence[MicroscopeHandler] | None = None) -> tuple[MicroscopeHandler, ...]:
        """The formats to try, out of those that are ``known`` (default: ``default_handlers()``).

        Raises
        ------
        OptionError
            If the microscope is unknown; the message lists those that are known. If rows cannot be counted, or plates
            have no sizes, so.
        NamePatternError
            If a pattern, preset or table cannot be used, or more than one of them is given.
        """
        numbering = self.numbering
        if self.preset is not None or self.pattern is not None or self.planes_csv is not None:
            if self.microscope is not None:
                raise OptionError(
                    f"microscope={self.microscope!r} does not go with a preset, pattern or table of planes; give one.",
                    option="microscope",
                )
            return (pattern_handler(self.preset, self.pattern, self.planes_csv, numbering),)
        known = default_handlers() if known is None else tuple(known)
        known = tuple(PresetHandler(numbering) if isinstance(handler, PresetHandler) else handler for handler in known)
        if self.microscope is None:
            return known
        chosen = tuple(handler for handler in known if handler.name == self.microscope)
        if not chosen:
            names = ", ".join(handler.name for handler in known)
            raise OptionError(f"microscope={self.microscope!r} is unknown (choose from {names}).", option="microscope")
        return chosen

    def detect(self, folder: str, known: Sequence[MicroscopeHandler] | None = None) -> DetectedMicroscope:
        """List a folder and find its plate under these options; see ``detect_microscope``."""
        return detect_microscope(folder, self.handlers(known))

    def describe(self, plate: Plate) -> Plate:
        """The plate with its map, and notes about wells that only one of the two knows.

        Raises
        ------
        OptionError
            If the options say how wells are numbered, and the plate's format says it itself.
        PlateMapError
            If the map cannot be read, or does not fit the plate; the cell is named.
        """
        if plate.microscope not in _SAID_BY_PEOPLE and self.numbering != UNSAID:
            asked = "count_from" if self.count_from is not None else "plate_wells"
            raise OptionError(
                f"{asked} goes with names of files or a table of planes; {plate.root} was read as {plate.microscope}, "
                "which says itself where its wells are. Leave the option out, or give a preset, pattern or table, too.",
                option=asked,
            )
        if self.plate_map is None:
            return plate
        table, columns = _declared_map(Path(self.plate_map))
        loaded = load_plate_map(table, columns, (plate.plate_id, plate.name))
        joined, differences = join_plate_map(loaded.plate_map, plate)
        notes, warnings = dose_notes(loaded, joined.wells)
        return replace(
            plate,
            plate_map=joined,
            notes=(*plate.notes, *loaded.notes, *notes, *differences),
            warnings=(*plate.warnings, *warnings),
        )


def _declared_map(path: Path) -> tuple[Path, PlateMapColumns | None]:
    """The table, and what its columns mean if ``path`` is a declaration of them."""
    if path.suffix.lower() != ".json":
        return path, None
    try:
        declared = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise PlateMapError(
            f"{path} cannot be read as a plate map's declaration: {explained(error)}.", path=str(path)
        ) from error
    table = declared.pop("table", None)
    if not isinstance(table, str):
        raise PlateMapError(f'{path} names no table; add "table": "my_map.csv".', path=str(path))
    return path.parent / table, PlateMapColumns.of(declared)


def absolute(path: str | Path | None) -> str | None:
    """A file's path that means the same in every process; None stays None."""
    return None if path is None else str(Path(path).expanduser().absolute())
