"""What the names of a folder's files say, taken together → declared planes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.declared import IMAGE_SUFFIXES, DeclaredPlane, examples, is_number
from openhcs_engine.microscopes.file_names.declared_times import TimeError, read_times
from openhcs_engine.microscopes.file_names.declared_wells import WellNumbering, WellText, WellTextError, read_wells
from openhcs_engine.microscopes.file_names.regex_timeout import Groups
from openhcs_engine.microscopes.file_names.regions import Origin, with_origins
from openhcs_engine.microscopes.listing import FolderListing, ListedFile

OTHER: Final = "other_"
"""Begins the names of groups that are coordinates without an axis on a plate."""
_NUMBERED: Final = ("site", "z", "z_index", "site_row", "site_column")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPlanes:
    """What all names together declare."""

    planes: tuple[DeclaredPlane, ...]
    plates: tuple[str, ...]
    """Names of plates that the files' names speak of."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    unmatched: tuple[ListedFile, ...]


def read_names(
    listing: FolderListing,
    matches: Mapping[str, Groups | None],
    numbering: WellNumbering,
    *,
    fixed_letter: bool = False,
) -> NamedPlanes:
    """The planes that the names of a listing declare; ``matches`` has the groups of each path that may be one.

    ``fixed_letter``: the pattern knows but one letter before the numbers of wells, see ``read_wells``.

    Raises
    ------
    UnreadablePlateError
        If the names leave open which wells or time points they mean, or have a coordinate without an axis.
    """
    matched = {file: matches.get(file.path) for file in listing.files if not file.name.startswith(".")}
    named = {file: groups for file, groups in matched.items() if groups is not None}  # ._A01.tif: left by macOS
    try:
        texts = {_well_text(groups) for file, groups in named.items() if is_image(file)}
        wells = read_wells(texts, numbering, fixed_letter=fixed_letter)
        _refuse_other_axes(named)
        rejected = {file: problem for file, groups in named.items() if (problem := _problem(file, groups, wells.names))}
        sound = {file: groups for file, groups in named.items() if file not in rejected}
        times = read_times((_series(groups), _time_of(groups)) for groups in sound.values())
    except (WellTextError, TimeError) as error:
        raise UnreadablePlateError(f"{listing.root}: {_sentence(error)}", path=listing.root) from error
    for file, groups in list(sound.items()):
        if not is_number(_time_of(groups)) and _time_of(groups) not in times.numbers:
            rejected[file] = f"timepoint {_time_of(groups)!r} is no number and no time"
            del sound[file]
    declared = [_plane(file, groups, wells.names, times.numbers) for file, groups in sound.items()]
    planes, numbered = with_origins(declared, [_origin(groups) for groups in sound.values()])
    plates = tuple(dict.fromkeys(plate for groups in sound.values() if (plate := groups.get("plate"))))
    return NamedPlanes(
        planes=tuple(planes),
        plates=plates,
        warnings=(*_rejected(rejected), *_several(plates), *wells.warnings),
        notes=(*wells.notes, *times.notes, *numbered),
        unmatched=tuple(file for file in listing.files if file not in named),
    )


def is_image(file: ListedFile) -> bool:
    """True for a file whose name can be a plane's."""
    return file.path.lower().endswith(IMAGE_SUFFIXES) and not file.name.startswith(".")


def shown_files(files: tuple[ListedFile, ...]) -> str:
    """Three of them, images first."""
    return examples([file.path for file in sorted(files, key=lambda file: not is_image(file))])


def _well_text(groups: Groups) -> WellText:
    if "well" in groups:
        return WellText(groups["well"] or "")
    return WellText(None, groups["row"] or "", groups["column"] or "")


def _time_of(groups: Groups) -> str:
    return groups.get("timepoint") or "1"


def _series(groups: Groups) -> tuple[str | None, ...]:
    """All that a name says but the time."""
    return tuple(value for name, value in groups.items() if name != "timepoint")


def _problem(file: ListedFile, groups: Groups, wells: Mapping[WellText, str | None]) -> str:
    """Why a name declares no plane; empty if it declares one."""
    text = _well_text(groups)
    if not is_image(file):
        return "it is no TIFF or PNG"
    if wells[text] is None:
        return f"{str(text)!r} is no well"
    for name in _NUMBERED:
        if (given := groups.get(name)) and not is_number(given):
            return f"{name} {given!r} is no number"
    return ""


def _refuse_other_axes(named: Mapping[ListedFile, Groups]) -> None:
    """WellTextError if files differ in a coordinate that a plate has no axis for: they would be mixed."""
    axes = {name for groups in named.values() for name in groups if name.startswith(OTHER)}
    for name in sorted(axes):
        values = sorted({groups.get(name) or "" for groups in named.values()})
        if len(values) > 1:
            raise WellTextError(
                f"The names have several values of {name.removeprefix(OTHER)} ({examples(values)}), for which a plate "
                "has no axis. Give the folder of one, a --pattern that matches the names of one, or a table of planes "
                "(--planes-csv)."
            )


def _plane(
    file: ListedFile, groups: Groups, wells: Mapping[WellText, str | None], times: Mapping[str, int]
) -> DeclaredPlane:
    well = wells[_well_text(groups)]
    assert well is not None, "such names were rejected before"
    timepoint = _time_of(groups)
    filters = [text for name in ("emission", "excitation") if (text := groups.get(name))]
    return DeclaredPlane(
        source=file.path,
        path=file.path,
        file=file,
        well=well,
        site=int(groups.get("site") or "1"),
        channel=groups.get("channel") or "/".join(filters) or "1",
        channel_name=groups.get("channel_name") or "/".join(filters) or None,
        z_index=int(groups.get("z_index") or groups.get("z") or "1"),
        timepoint=times[timepoint] if timepoint in times else int(timepoint),
    )


def _origin(groups: Groups) -> Origin:
    row, column = groups.get("site_row"), groups.get("site_column")
    grid = None if row is None or column is None else (int(row), int(column))
    return Origin(groups.get("region"), groups.get("acquisition"), grid)


def _rejected(rejected: Mapping[ListedFile, str]) -> list[str]:
    if not rejected:
        return []
    shown = examples([f"{file.path}: {problem}" for file, problem in rejected.items()])
    return [f"Left out, although the pattern matches: {len(rejected)} of the files ({shown})."]


def _several(plates: tuple[str, ...]) -> list[str]:
    if len(plates) < 2:
        return []
    return [f"The names speak of {len(plates)} plates ({examples(sorted(plates))}); they were read as one."]


def _sentence(error: ValueError) -> str:
    text = str(error)
    if isinstance(error, WellTextError):
        return text
    return f"{text}. Number the time points in a table of planes (--planes-csv)."
