"""Plates that are described by file names alone: a pattern with named groups, a preset, or a table of planes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from openhcs_engine.errors import NamePatternError, NotAPlateError
from openhcs_engine.microscopes.declared import DeclaredPlate, build_plate, canonical_well, well_of
from openhcs_engine.microscopes.file_names.declared_wells import UNSAID, WellNumbering
from openhcs_engine.microscopes.file_names.named_planes import OTHER, NamedPlanes, is_image, read_names, shown_files
from openhcs_engine.microscopes.file_names.planes_csv import CsvHandler
from openhcs_engine.microscopes.file_names.presets import COMPUTED, COUNTED_FROM_0, INNER_FOLDERS, PRESETS
from openhcs_engine.microscopes.file_names.regex_timeout import Groups, match_all, match_all_at_once
from openhcs_engine.microscopes.file_names.suggestion import suggested_pattern
from openhcs_engine.microscopes.handler import MicroscopeHandler, is_inside, one_plate, outermost
from openhcs_engine.microscopes.listing import FolderListing, ListedFile
from openhcs_engine.model.image_index import ImageIndex
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.wells import plate_id_of_folder, validate_plate_id

VALID_GROUPS: Final = (
    "well", "row", "column", "site", "site_row", "site_column", "channel", "channel_name", "excitation", "emission",
    "z", "z_index", "timepoint", "plate", "region", "acquisition",
)  # fmt: skip
"""Named groups that a pattern may have; ``z`` and ``z_index`` are one."""
MAX_PATTERN: Final = 1000
"""Characters of a pattern."""
_LETTER_OF_WELLS: Final = re.compile(r"\(\?P<(?:well|row)>[A-Za-z](?![A-Za-z|*?{])")
"""In a pattern in which all wells begin with one letter, as ``(?P<well>W\\d+)``."""
_NEARLY_ALL: Final = 0.9
"""Share of a folder's images that must have a preset's names before it is chosen without being asked for; what the
instrument computed from planes does not count."""


class PatternHandler(MicroscopeHandler):
    """Reads a folder by the names of its files.

    The pattern must match a file's whole name with its ending or, if it contains ``/``, the whole path below the plate
    folder. ``well`` (any spelling, or the well's number on a plate of known size), or ``row`` and ``column``, say the
    well; ``site``, or ``site_row`` and ``site_column``, and ``z`` (or ``z_index``) are numbers; ``timepoint`` is a
    number or a time, elapsed (``00d06h00m``) or the clock's; ``channel`` is a number or a text, and ``excitation`` and
    ``emission`` name it; what a pattern does not say is 1. ``plate`` is the plate's name. Sites of each ``region`` are
    sites of their own; so are channels of each ``acquisition``, where two took the same.
    """

    name: ClassVar[str] = "pattern"
    looks_for: ClassVar[str] = "files with names that a given pattern matches"

    def __init__(
        self,
        pattern: re.Pattern[str],
        name: str = "pattern",
        *,
        numbering: WellNumbering = UNSAID,
        seconds: float | None = None,
    ) -> None:
        """
        Parameters
        ----------
        pattern : compiled regular expression
            With named groups out of VALID_GROUPS.
        name : str
            Name of the preset it comes from; ``pattern`` for a user's own.
        numbering : WellNumbering
            What rows, columns and wells count from, and the plate's size.
        seconds : float, optional
            Time that matching may take.

        Raises
        ------
        NamePatternError
            If the pattern has other groups, or does not say the well.
        """
        _check_groups(pattern)
        self.pattern = pattern
        self.title = f"preset {name}" if name in PRESETS else f"pattern {pattern.pattern}"
        if name in COUNTED_FROM_0 and numbering.count_from is None:
            numbering = replace(numbering, count_from=0)
        self.numbering = numbering
        self.seconds = seconds

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """The folder itself: who gives a pattern says that this folder is the plate."""
        return ("",)

    def recognises(self, listing: FolderListing) -> bool:
        """True if the pattern matches at least one file."""
        return any(groups is not None for groups in self._match(listing.files))

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read all files that the pattern matches, in all folders; see MicroscopeHandler.read_plate."""
        return self.read_files(listing, listing.files, plate_id)

    def read_files(
        self, listing: FolderListing, files: Sequence[ListedFile], plate_id: str | None = None, reason: str = ""
    ) -> tuple[Plate, ImageIndex]:
        """Read a plate of some of the listing's files; all others are noted as left out."""
        chosen = plate_id_of_folder(listing.name) if plate_id is None else validate_plate_id(plate_id)
        matches = dict(zip((file.path for file in files), self._match(files), strict=True))
        fixed = _LETTER_OF_WELLS.search(self.pattern.pattern) is not None
        named = read_names(listing, matches, self.numbering, fixed_letter=fixed)
        if not named.planes:
            raise NotAPlateError(self._nothing(listing, named), path=listing.root)
        rows, columns = self.numbering.format or (None, None)
        declared = DeclaredPlate(
            plate_id=chosen,
            name=named.plates[0] if len(named.plates) == 1 else listing.name,
            microscope=self.name,
            listing=listing,
            planes=named.planes,
            rows=rows,
            columns=columns,
            warnings=list(named.warnings),
            notes=[
                f"What each file is was read from its name by the {self.title}{reason}.",
                *named.notes,
                *_left_out(named),
            ],
        )
        return build_plate(declared)

    def _match(self, files: Sequence[ListedFile]) -> list[Groups | None]:
        texts = [file.path if "/" in self.pattern.pattern else file.name for file in files]
        if self.pattern in PRESETS.values():
            return match_all_at_once(self.pattern, texts)
        return match_all(self.pattern, texts) if self.seconds is None else match_all(self.pattern, texts, self.seconds)

    def _nothing(self, listing: FolderListing, named: NamedPlanes) -> str:
        what = "path below it" if "/" in self.pattern.pattern else "name with its ending"
        held = f"it holds {shown_files(named.unmatched)}" if named.unmatched else "it holds no file that could be one"
        rejected = "".join(f" {warning}" for warning in named.warnings)
        suggested = suggested_pattern(listing)
        try_it = "" if suggested is None else f" Its images would be matched by --pattern {shlex.quote(suggested)}."
        return (
            f"{listing.root} holds no plane by the {self.title}: it must match a file's whole {what} ({held})."
            f"{rejected} Correct the pattern, or choose another preset: {', '.join(PRESETS)}.{try_it}"
        )


def _left_out(named: NamedPlanes) -> list[str]:
    if not named.unmatched:
        return []
    count = f"{len(named.unmatched)} files do not match and were"
    if len(named.unmatched) == 1:
        count = "1 file does not match and was"
    return [f"{count} left out ({shown_files(named.unmatched)})."]


class PresetHandler(MicroscopeHandler):
    """Chooses a preset for a folder that no format claims, if nearly all of its images have that preset's names."""

    name: ClassVar[str] = PatternHandler.name
    looks_for: ClassVar[str] = "images with names like B7_01_1_1_DAPI_001.tif, A03f00d0.tif or Channel1-01-A-01.tif"
    last_resort: ClassVar[bool] = True

    def __init__(self, numbering: WellNumbering = UNSAID) -> None:
        self.numbering = numbering

    def plate_folders(self, listing: FolderListing) -> tuple[str, ...]:
        """Folders in which one preset matches nearly all images, or whose folders are one well each."""
        return tuple(_plates(listing))

    def read_plate(self, listing: FolderListing, plate_id: str | None = None) -> tuple[Plate, ImageIndex]:
        """Read the only such folder; see MicroscopeHandler.read_plate."""
        plates = _plates(listing)
        base = one_plate(listing, tuple(plates), [self])
        inside = [file for file in listing.files if is_inside(file.folder, base)]
        reason = ", which fits nearly all images" + (f" in {base}" if base else "")
        handler = PatternHandler(PRESETS[plates[base]], plates[base], numbering=self.numbering)
        return handler.read_files(listing, inside, plate_id, reason)


def _plates(listing: FolderListing) -> dict[str, str]:
    """Plate folders, each with the preset of its images."""
    presets = {folder: name for folder, files in listing.by_folder.items() if (name := _preset_of(files)) is not None}
    found = {_plate_folder(folder, name): name for folder, name in presets.items()}
    plates = {folder: found[folder] for folder in outermost(found)}
    above = {folder.rpartition("/")[0] for folder in plates if folder}
    for parent in above:
        folders = [folder for folder in plates if folder and folder.rpartition("/")[0] == parent]
        name = _preset_of_wells(listing, {folder: plates[folder] for folder in folders})
        if name is not None:
            plates = {folder: kept for folder, kept in plates.items() if folder not in folders} | {parent: name}
    return {folder: plates[folder] for folder in outermost(plates)}


def _plate_folder(folder: str, preset: str) -> str:
    """The folder of a plate from one of those that its instrument makes inside."""
    inner = INNER_FOLDERS.get(preset)
    while inner is not None and inner.fullmatch(folder.rpartition("/")[2]):
        folder = folder.rpartition("/")[0]
    return folder


def _preset_of_wells(listing: FolderListing, folders: Mapping[str, str]) -> str | None:
    """The preset of folders that are one well each, and are called so, all of one plate; None if they are plates."""
    presets = set(folders.values())
    if len(folders) < 2 or len(presets) > 1:
        return None
    (name,) = presets
    wells: list[set[str | None]] = []
    plates = set[str | None]()
    for folder in folders:
        groups = [match.groupdict() for text in listing.names[folder] if (match := PRESETS[name].fullmatch(text))]
        wells.append({_well(found) for found in groups} | {_well_in_name(folder.rpartition("/")[2])})
        plates |= {found.get("plate") for found in groups}
    apart = all(len(inside) == 1 for inside in wells) and len(set[str | None]().union(*wells)) == len(folders)
    return name if apart and len(plates) == 1 else None


def _well_in_name(folder: str) -> str | None:
    """The well that a folder is named after, as in ``A1`` and ``ID_A9 info``."""
    found = re.search(r"(?<![A-Za-z0-9])[A-Z]{1,2}[0-9]{1,2}(?![A-Za-z0-9])", folder, re.ASCII)
    return None if found is None else canonical_well(found[0])


def _preset_of(files: Sequence[ListedFile]) -> str | None:
    names = [file.name for file in files if is_image(file)]
    if not names:
        return None
    counts = {name: sum(pattern.fullmatch(text) is not None for text in names) for name, pattern in PRESETS.items()}
    best = max(counts, key=lambda name: counts[name])
    computed = sum(COMPUTED[best].fullmatch(text) is not None for text in names) if best in COMPUTED else 0
    return best if 0 < counts[best] >= _NEARLY_ALL * (len(names) - computed) else None


def pattern_handler(
    preset: str | None = None,
    pattern: str | None = None,
    planes_csv: str | os.PathLike[str] | None = None,
    numbering: WellNumbering = UNSAID,
) -> MicroscopeHandler:
    """The handler for a folder whose files a person describes, by exactly one of the three.

    Parameters
    ----------
    preset : str, optional
        A key of PRESETS.
    pattern : str, optional
        A regular expression with named groups; see PatternHandler.
    planes_csv : path, optional
        A table with one row for each plane; see CsvHandler.
    numbering : WellNumbering
        What rows, columns and wells count from, and the plate's size.

    Raises
    ------
    NamePatternError
        If none or several are given, the preset is unknown, or the pattern cannot be used.
    """
    given = {"preset": preset, "pattern": pattern, "planes CSV": planes_csv}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        told = f"a {' and a '.join(names)} were given" if names else "nothing was given"
        raise NamePatternError(
            f"Give either a preset ({', '.join(PRESETS)}), a pattern or a CSV of planes; {told}.", pattern=pattern or ""
        )
    if planes_csv is not None:
        return CsvHandler(planes_csv, numbering)
    if preset is not None:
        if preset not in PRESETS:
            raise NamePatternError(
                f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}, or give a pattern.", pattern=preset
            )
        return PatternHandler(PRESETS[preset], preset, numbering=numbering)
    return PatternHandler(compile_pattern(pattern or ""), numbering=numbering)


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a user's regular expression.

    Raises
    ------
    NamePatternError
        If it is none, or too long.
    """
    if len(text) > MAX_PATTERN:
        raise NamePatternError(
            f"The pattern has {len(text)} characters; a pattern of file names has at most {MAX_PATTERN}.", pattern=text
        )
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise NamePatternError(f"The pattern {text!r} is no regular expression: {error}.", pattern=text) from error


def _check_groups(pattern: re.Pattern[str]) -> None:
    groups = set(pattern.groupindex)
    own = pattern in PRESETS.values()
    unknown = [name for name in pattern.groupindex if name not in VALID_GROUPS and not (own and name.startswith(OTHER))]
    whole, parts = "well" in groups, groups & {"row", "column"}
    if unknown:
        problem = f"has the group {', '.join(unknown)}"
    elif whole and parts:
        problem = f"has both the group well and {' and '.join(sorted(parts))}"
    elif not whole and len(parts) != 2:
        problem = "does not say the well: it needs the group well, or the groups row and column"
    elif {"z", "z_index"} <= groups:
        problem = "has both the group z and z_index"
    elif "site" in groups and groups & {"site_row", "site_column"}:
        problem = "has both the group site and a row or column of sites"
    elif len(groups & {"site_row", "site_column"}) == 1:
        problem = "has one of site_row and site_column; they belong together"
    elif "channel_name" in groups and "channel" not in groups:
        problem = "has channel_name without channel; use channel, which may be a text"
    else:
        return
    raise NamePatternError(
        f"The pattern {pattern.pattern!r} {problem}. Valid groups, written (?P<well>...): {', '.join(VALID_GROUPS)}.",
        pattern=pattern.pattern,
    )


def _well(groups: Groups) -> str | None:
    """The well of a preset's name whose rows are letters; None for others, which no folder is named after."""
    if "well" in groups:
        return canonical_well(groups["well"] or "")
    return well_of(groups["row"] or "", groups["column"] or "")
