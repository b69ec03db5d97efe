"""The HTD file of a MetaXpress export: what was to be acquired.

Lines are ``"Key", value, value``. The file ends its lines with CR LF and is written in the instrument's code page, or
in UTF-16 by who saved it again; in a description line breaks are bytes 0x81 and 0x82, neither UTF-8 nor cp1252.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.model.plate import Grid
from openhcs_engine.model.wells import MAX_COLUMNS, MAX_ROWS, well_name

MAX_HTD_BYTES: Final = 4 << 20
"""A 1536-well HTD has 15 KB."""
_SIGNATURE = re.compile(rb'^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*"?HTSInfoFile"?\s*,', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wavelength as the HTD declares it."""

    index: int
    name: str | None
    collected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Htd:
    """What an HTD declares; None where it is silent."""

    wells: tuple[str, ...]
    """Selected wells, in plate order."""
    rows: int | None
    columns: int | None
    site_grid: Grid | None
    """The grid of sites that the operator chose from."""
    selected_sites: tuple[int, ...]
    """Positions of the selected sites in that grid, counted from 1, row by row."""
    waves: tuple[Wave, ...]
    timepoints: int
    z_steps: int
    """1 without a z series."""
    description: str | None = None

    @property
    def selected_grid(self) -> Grid | None:
        """Rows and columns of the selected sites; None where they are too scattered to lie in rows and columns."""
        if self.site_grid is None:
            return None
        places = [divmod(site - 1, self.site_grid.columns) for site in self.selected_sites]
        grid = Grid(rows=len({row for row, _ in places}), columns=len({column for _, column in places}))
        # A grid that is mostly holes is none: any two positions lie on one.
        return grid if grid.rows * grid.columns < 2 * len(places) else None

    def declared_sites(self, seen: frozenset[int]) -> tuple[int, ...]:
        """Numbers of the declared sites, in the numbering that the files ``seen`` on the plate follow.

        MetaXpress numbers the selected sites 1 to n, row by row. Where files bear higher numbers, they can only be
        positions in the full grid; other programs export so.
        """
        consecutive = tuple(range(1, len(self.selected_sites) + 1))
        if seen <= set(consecutive) or not seen <= set(self.selected_sites):
            return consecutive
        return self.selected_sites


def is_htd(head: bytes) -> bool:
    """True if a file with this beginning is an HTD, whatever its name."""
    return _SIGNATURE.match(head.replace(b"\0", b"")) is not None  # UTF-16 has zeros between its letters


def parse_htd(content: bytes, path: str) -> Htd:
    """Read an HTD.

    Raises
    ------
    UnreadablePlateError
        If it is no HTD, or a number in it is none.
    """
    if not is_htd(content):
        raise UnreadablePlateError(f'{path} is not an HTD file: it does not begin with "HTSInfoFile".', path=path)
    entries = _entries(_decoded(content))
    try:
        return _htd(entries)
    except ValueError as error:
        raise UnreadablePlateError(f"{path} is a damaged HTD file: {error}.", path=path) from error


def _decoded(content: bytes) -> str:
    if b"\0" in content[:64]:
        first_is_zero = content.removeprefix(b"\xfe\xff").startswith(b"\0")
        return content.decode("utf-16-be" if first_is_zero else "utf-16-le", errors="replace").lstrip("\ufeff")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")  # decodes any bytes


def _entries(text: str) -> dict[str, tuple[str, ...]]:
    """Values by key; keys in lower case, as other programs' copies do not keep their letters' case."""
    # Line by line: a quote that is never closed must not swallow the rest of the file.
    rows = [_values(line) for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    return {row[0].strip().casefold(): tuple(value.strip() for value in row[1:]) for row in rows if row}


def _values(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:  # a field beyond csv's limit of 128 KB: none of the keys read here
        return []


def _text(entries: Mapping[str, tuple[str, ...]], key: str) -> str | None:
    """A text value; None if it is absent or empty. Bytes 0x81 and 0x82 stand for line breaks."""
    value = re.sub(r"[\x81\x82]+", "\n", (entries.get(key.casefold()) or ("",))[0])
    return "".join(letter for letter in value if letter == "\n" or letter.isprintable()).strip() or None


def _htd(entries: Mapping[str, tuple[str, ...]]) -> Htd:
    rows, columns = _count(entries, "YWells", MAX_ROWS), _count(entries, "XWells", MAX_COLUMNS)
    return Htd(
        wells=_selected_wells(entries),
        rows=rows,
        columns=columns,
        site_grid=_site_grid(entries),
        selected_sites=_selected_sites(entries),
        waves=_waves(entries),
        timepoints=_count(entries, "TimePoints", 100_000) or 1,
        z_steps=(_count(entries, "ZSteps", 100_000) or 1) if _is_true(entries, "ZSeries", "zsteps" in entries) else 1,
        description=_text(entries, "Description"),
    )


def _count(entries: Mapping[str, tuple[str, ...]], key: str, limit: int) -> int | None:
    values = entries.get(key.casefold())
    if not values:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", values[0], re.ASCII) or int(values[0]) > limit:
        raise ValueError(f'"{key}" is {values[0]!r}, expected a number up to {limit}')
    return int(values[0])


def _is_true(entries: Mapping[str, tuple[str, ...]], key: str, default: bool) -> bool:
    values = entries.get(key.casefold())
    return values[0].upper() == "TRUE" if values else default


def _selection(entries: Mapping[str, tuple[str, ...]], key: str, rows: int, columns: int) -> list[tuple[int, int]]:
    """(row, column), counted from 0, of each TRUE in the lines ``<key>1`` to ``<key><rows>``."""
    return [
        (row, column)
        for row in range(rows)
        for column, value in enumerate(entries.get(f"{key}{row + 1}".casefold(), ())[:columns])
        if value.upper() == "TRUE"
    ]


def _selected_wells(entries: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(well_name(row, column) for row, column in _selection(entries, "WellsSelection", MAX_ROWS, MAX_COLUMNS))


def _site_grid(entries: Mapping[str, tuple[str, ...]]) -> Grid | None:
    rows, columns = _count(entries, "YSites", 1000), _count(entries, "XSites", 1000)
    if not rows or not columns or not _is_true(entries, "Sites", True):
        return None
    return Grid(rows=rows, columns=columns)


def _selected_sites(entries: Mapping[str, tuple[str, ...]]) -> tuple[int, ...]:
    grid = _site_grid(entries)
    if grid is None:
        return (1,)
    chosen = _selection(entries, "SiteSelection", grid.rows, grid.columns)
    if not chosen:
        return tuple(range(1, grid.rows * grid.columns + 1))
    return tuple(row * grid.columns + column + 1 for row, column in chosen)


def _waves(entries: Mapping[str, tuple[str, ...]]) -> tuple[Wave, ...]:
    count = _count(entries, "NWavelengths", 999) if _is_true(entries, "Waves", True) else None
    if not count and not entries.get("wavename1"):
        return ()
    return tuple(
        Wave(
            index=index,
            name=_text(entries, f"WaveName{index}"),
            collected=(entries.get(f"wavecollect{index}") or ("1",))[0].upper() not in {"0", "FALSE"},
        )
        for index in range(1, (count or 1) + 1)
    )
