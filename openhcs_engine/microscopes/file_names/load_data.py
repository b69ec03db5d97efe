"""CellProfiler's table of images (``load_data.csv``), the field's commonest: a row a site, columns for each channel.

``FileName_<channel>`` and ``PathName_<channel>``, or ``URL_<channel>``, say where an image lies; ``Metadata_…`` say
what it is. All may have ``Image_`` in front. Paths are those of the computer that wrote the table, so that a file is
found below the plate folder by its name, and among several of one name by the folders that it shares with the table's.

Source: CellProfiler's module LoadData, and the tables of the JUMP consortium.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Final
from urllib.parse import unquote, urlsplit

from openhcs_engine.microscopes.declared import IMAGE_SUFFIXES, examples
from openhcs_engine.microscopes.file_names.plane_rows import OwnRows, PlaneRow, rows_of_plate
from openhcs_engine.microscopes.handler import is_inside
from openhcs_engine.microscopes.listing import FolderListing
from openhcs_engine.microscopes.tables.cells import Table, TableError

_IMAGE_COLUMN = re.compile(r"(?:image_)?(filename|pathname|url)_(.+)", re.IGNORECASE)
_FRAME_COLUMN = re.compile(r"(?:image_)?(?:frame|series)_.+", re.IGNORECASE)
"""Which of several planes of a file is meant, counted from 0."""
_METADATA: Final[Mapping[str, tuple[str, ...]]] = {
    "well": ("well", "wellid", "well_id", "wellname", "well_name", "well_position"),
    "row": ("row", "well_row", "wellrow"),
    "column": ("col", "column", "well_column", "well_col", "wellcolumn"),
    "site": ("site", "field", "fieldid", "field_id", "fov", "fieldofview", "field_of_view"),
    "z_index": ("plane", "planeid", "plane_id", "z", "zindex", "z_index", "zplane", "slice", "zslice"),
    "timepoint": ("timepoint", "timepointid", "timepoint_id", "time_point", "t", "time"),
    "plate": ("plate", "plateid", "plate_id", "platename", "plate_name", "barcode", "plate_barcode"),
}
"""What our columns are called behind ``Metadata_``, in small letters; the first that is there is taken."""


@dataclass(slots=True)
class _Channel:
    """The columns of one channel, by their numbers."""

    name: str
    columns: dict[str, int] = field(default_factory=dict)
    """``filename``, ``pathname``, ``url`` → number of the column."""


def is_load_data(header: Sequence[str]) -> bool:
    """True for the names of columns of CellProfiler's table."""
    return any(_image_column(name) is not None for name in header)


def rows_of_load_data(table: Table, header: int, listing: FolderListing, called: Sequence[str]) -> OwnRows:
    """A row for each plane that the table lists of the plate that is ``called`` so; see ``rows_of_plate``.

    Raises
    ------
    TableError
        If it names no image or no well, only other plates, or a file of which several lie in the folder.
    """
    names = table.rows[header]
    channels, metadata = _channels(names), _metadata(names)
    if "well" not in metadata and not {"row", "column"} <= metadata.keys():
        raise TableError("it has images, but no column Metadata_Well, nor Metadata_Row and Metadata_Col")
    titles = {ours: names[column] for ours, column in metadata.items()}
    said = [
        PlaneRow(number + 1, {ours: table[number, column] for ours, column in metadata.items()}, called=titles)
        for number in range(header + 1, len(table.rows))
        if any(table.rows[number])
    ]
    read = {*metadata.values(), *(column for channel in channels for column in channel.columns.values())}
    table.refuse_broken([row.number - 1 for row in said], read)
    _refuse_frames(table, [row.number - 1 for row in said], names)
    own = rows_of_plate(said, called)
    sites = own.rows
    addresses = {channel.name: [_address(channel, table, row.number - 1) for row in sites] for channel in channels}
    images = [channel for channel in channels if _are_planes(addresses[channel.name])]
    if not images:
        raise TableError(f"none of its columns names images ({examples([name for name in names if name])})")
    files = _Files(listing, [address for channel in images for address in addresses[channel.name] if address])
    rows = tuple(
        _plane_row(row, addresses[channel.name][at], order, channel, names, files)
        for at, row in enumerate(sites)
        for order, channel in enumerate(images, start=1)
        if addresses[channel.name][at]
    )
    others = [channel.name for channel in channels if channel not in images]
    left = [name for column, name in enumerate(names) if name and column not in read]
    absent = len(sites) * len(images) - len(rows)
    notes = [
        f"No planes: {examples(others)} (files that are no images, or one file for all rows)." if others else "",
        f"Columns that say nothing of planes were not read: {examples(left)}." if left else "",
        f"{absent} cells for images are empty: no such plane was declared." if absent else "",
    ]
    return replace(own, rows=rows, notes=(*own.notes, *(note for note in notes if note)))


def _refuse_frames(table: Table, rows: Sequence[int], names: Sequence[str]) -> None:
    """TableError if a column says which plane of a file that holds several is meant."""
    for column, name in enumerate(names):
        if _FRAME_COLUMN.fullmatch(name):
            values = {table[row, column] for row in rows} - {"", "0", "0.0"}
            if values:
                raise TableError(
                    f"its column {name} names planes inside of files ({examples(sorted(values))}), but a plane is a "
                    "file; export each plane to a file of its own"
                )


def _plane_row(
    row: PlaneRow, address: str, order: int, channel: _Channel, names: Sequence[str], files: _Files
) -> PlaneRow:
    column = channel.columns["filename" if "filename" in channel.columns else "url"]
    titled = replace(row, called={**row.called, "path": names[column]})
    # The order of the columns is the operator's; names alone would be numbered by the alphabet.
    return titled.with_cells({"path": files.find(address, titled), "channel": str(order), "channel_name": channel.name})


def _image_column(name: str) -> tuple[str, str] | None:
    match = _IMAGE_COLUMN.fullmatch(name)
    return None if match is None else (match[1].lower(), match[2])


def _channels(names: Sequence[str]) -> list[_Channel]:
    """In the order of their first columns."""
    found: dict[str, _Channel] = {}
    for number, name in enumerate(names):
        if (column := _image_column(name)) is None:
            continue
        kind, channel = column
        columns = found.setdefault(channel, _Channel(channel)).columns
        if kind in columns:
            raise TableError(f"its header has the column {name} twice")
        columns[kind] = number
    return [channel for channel in found.values() if {"filename", "url"} & channel.columns.keys()]


def _metadata(names: Sequence[str]) -> dict[str, int]:
    """Our name of a column → its number."""
    bare = {name.lower(): number for number, name in enumerate(names) if name}
    prefix = re.compile(r"(?:image_)?metadata_")
    plain = bare | {prefix.sub("", name): number for name, number in bare.items() if prefix.match(name)}
    found = {
        ours: next(plain[theirs] for theirs in aliases if theirs in plain)
        for ours, aliases in _METADATA.items()
        if any(theirs in plain for theirs in aliases)
    }
    if "well" in found:
        found.pop("row", None), found.pop("column", None)
    return found


def _address(channel: _Channel, table: Table, number: int) -> str:
    """Where a row says that its image lies, with ``/``; empty if it says nothing."""
    cells = {kind: table[number, column] for kind, column in channel.columns.items()}
    if name := cells.get("filename", ""):
        return "/".join(part for part in (_plain(cells.get("pathname", "")), name.replace("\\", "/")) if part)
    return _plain(cells.get("url", ""))


def _plain(address: str) -> str:
    """A folder or URL as a path; of URLs what stands behind the host or bucket, too."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", address):  # two letters or more: C: is a drive
        parts = urlsplit(address)
        return f"{parts.netloc}{unquote(parts.path)}".rstrip("/")
    return address.replace("\\", "/").rstrip("/")


def _are_planes(addresses: Sequence[str]) -> bool:
    """False for illumination functions and the like: no images, or one file for all rows."""
    given = [address for address in addresses if address]
    images = [address for address in given if address.lower().endswith(IMAGE_SUFFIXES)]
    return bool(images) and (len(given) == 1 or len(set(given)) > 1)


class _Files:
    """The files of a plate folder, as the addresses of a table name them."""

    def __init__(self, listing: FolderListing, addresses: Sequence[str]) -> None:
        self.root = f"{_plain(listing.root.rstrip('/'))}/"
        self.paths = listing.by_path
        self.by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self.by_name.setdefault(path.rpartition("/")[2].lower(), []).append(path)
        self.names = Counter(address.rpartition("/")[2] for address in addresses)
        self.folders: dict[str, set[str]] = {}
        """Folder of the table → folders in which its files lie of whose names there are several."""
        for address in addresses:
            if len(self._alike(address)) > 1 and len(nearest := self._nearest(address)) == 1:
                self.folders.setdefault(address.rpartition("/")[0], set()).add(nearest[0].rpartition("/")[0])

    def find(self, address: str, row: PlaneRow) -> str:
        """The path of a listed file; of one that is not there, a path that no other row has."""
        inside = address.removeprefix(self.root)
        if inside in self.paths:
            return inside
        nearest = self._nearest(address)
        folder, _, name = address.rpartition("/")
        if len(nearest) > 1:
            raise row.fail(
                "path",
                f"{name!r} is the name of several files ({examples(nearest)}), and the folder fits none of them best",
            )
        known = self._known(folder)
        if nearest and (not known or any(is_inside(nearest[0].rpartition("/")[0], other) for other in known)):
            return nearest[0]
        # A file of this name in a folder where the table's others do not lie is another plate's or well's.
        if inside != address or self.names[name] == 1:
            return inside if inside != address else name
        return re.sub(r"^(?:[A-Za-z]:)?/*", "", address)

    def _known(self, folder: str) -> set[str]:
        """Where the files of a folder of the table lie, or those of the nearest folder above of which that is known."""
        while folder and folder not in self.folders:
            folder = folder.rpartition("/")[0]
        return self.folders.get(folder, set())

    def _alike(self, address: str) -> list[str]:
        """Listed files of an address's name, in other case if there is none in the same."""
        name = address.rpartition("/")[2]
        found = self.by_name.get(name.lower(), [])
        return [path for path in found if path.rpartition("/")[2] == name] or found

    def _nearest(self, address: str) -> list[str]:
        """Those of them that share most of the address's folders."""
        alike = self._alike(address)
        shared = [_shared(path, address) for path in alike]
        return [path for path, count in zip(alike, shared, strict=True) if count == max(shared)]


def _shared(path: str, address: str) -> int:
    """How many names two paths have in common, counted from their ends."""
    pairs = zip(reversed(path.split("/")), reversed(address.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].lower() == pair[1].lower(), pairs))
