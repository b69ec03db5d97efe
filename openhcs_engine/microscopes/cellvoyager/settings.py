"""What a CellVoyager writes beside its records: the detail (.mrf), the settings (.mes) and the plate (.wpi)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openhcs_engine.errors import UnknownWellError, UnreadablePlateError
from openhcs_engine.model.wells import normalise_well, plate_order

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_SETTINGS_BYTES: Final = 16 << 20
"""The settings of 1536 wells and 1000 points are 200 KB."""
# BP525/50: a band of 50 nm around 525 nm. Long pass filters and dichroics have no such middle.
_BAND = re.compile(r"BP\s*([0-9]{3,4}(?:\.[0-9]+)?)\s*[/-]\s*[0-9]+(?:\.[0-9]+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailChannel:
    """One channel of a MeasurementDetail.mrf."""

    pixel_size_um: float | None = None
    """Along x."""
    pixel_height_um: float | None = None
    """Along y."""
    shape: tuple[int, int] | None = None
    """(y, x) in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A MeasurementDetail.mrf."""

    plate_name: str | None
    """Of the sample plate; else the title of the measurement."""
    rows: int | None
    columns: int | None
    settings_file: str | None
    """Name of the .mes file."""
    channels: dict[int, DetailChannel]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChannel:
    """One channel of a .mes file."""

    name: str | None = None
    """The dye; where the operator gave none, the target."""
    wavelength_nm: float | None = None
    """Middle of the emission band; None for transmitted light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A .mes file."""

    channels: dict[int, SettingsChannel]
    wells: tuple[str, ...]
    """Wells selected for acquisition, in plate order."""
    slices_um: tuple[float, ...]
    """Distances of neighbouring planes that the actions ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateFile:
    """A .wpi file."""

    name: str | None
    rows: int | None
    columns: int | None


def parse_detail(content: bytes, path: str) -> Detail:
    """Read a MeasurementDetail.mrf; raises UnreadablePlateError, naming ``path``, if it is damaged or another file."""
    root = _root(content, path, "MeasurementDetail")
    sample = next(_children(root, "MeasurementSamplePlate"), None)
    sample_name = "" if sample is None else _get(sample, "Name")
    channels = {
        index: DetailChannel(
            pixel_size_um=_positive(_get(node, "HorizontalPixelDimension")),
            pixel_height_um=_positive(_get(node, "VerticalPixelDimension")),
            shape=_shape(_whole(_get(node, "VerticalPixels")), _whole(_get(node, "HorizontalPixels"))),
        )
        for node in _children(root, "MeasurementChannel")
        if (index := _whole(_get(node, "Ch"))) is not None
    }
    return Detail(
        plate_name=sample_name or _get(root, "Title") or None,
        rows=_whole(_get(root, "RowCount")),
        columns=_whole(_get(root, "ColumnCount")),
        settings_file=_get(root, "MeasurementSettingFileName") or None,
        channels=channels,
    )


def parse_settings(content: bytes, path: str) -> Settings:
    """Read a .mes file; raises UnreadablePlateError, naming ``path``, if it is damaged or another file."""
    root = _root(content, path, "MeasurementSetting")
    channels = {
        index: SettingsChannel(
            name=_get(node, "Fluorophore") or _get(node, "Target") or None, wavelength_nm=_emission(node)
        )
        for node in _descendants(root, "Channel")
        if (index := _whole(_get(node, "Ch"))) is not None
    }
    slices = {_positive(_get(node, "SliceLength")) for node in root.iter()}
    return Settings(
        channels=channels,
        wells=tuple(sorted(set(_selected_wells(root)), key=plate_order)),
        slices_um=tuple(sorted(length for length in slices if length is not None)),
    )


def parse_plate_file(content: bytes, path: str) -> PlateFile:
    """Read a .wpi file; raises UnreadablePlateError, naming ``path``, if it is damaged or another file."""
    root = _root(content, path, "WellPlate")
    return PlateFile(
        name=_get(root, "Name") or None, rows=_whole(_get(root, "Rows")), columns=_whole(_get(root, "Columns"))
    )


def _root(content: bytes, path: str, kind: str) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if len(content) > MAX_SETTINGS_BYTES:
        raise UnreadablePlateError(f"{path} is larger than {MAX_SETTINGS_BYTES >> 20} MiB.", path=path)
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise UnreadablePlateError(f"{path} cannot be read ({type(error).__name__}: {error}).", path=path) from error
    if _local(root.tag) != kind:
        raise UnreadablePlateError(f"{path} holds <{_local(root.tag)[:60]}>, not <{kind}>.", path=path)
    return root


def _emission(channel: Element) -> float | None:
    kind = _get(channel, "Kind")
    if kind and "fluorescence" not in kind.lower():
        return None  # brightfield and phase contrast: the filter is in the way, nothing is emitted
    match = _BAND.fullmatch(_get(channel, "Acquisition"))
    return float(match[1]) if match else None


def _selected_wells(root: Element) -> Iterator[str]:
    for sequence in _descendants(root, "WellSequence"):
        if _get(sequence, "IsSelected").lower() == "false":
            continue
        for target in _children(sequence, "TargetWell"):
            if (target.text or "").strip().lower() != "true":
                continue
            try:
                yield normalise_well(f"r{_get(target, 'Row')}c{_get(target, 'Column')}")
            except UnknownWellError:
                continue


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _get(node: Element, key: str) -> str:
    """An attribute by its name without namespace; empty if it is absent."""
    return next((value.strip() for name, value in node.attrib.items() if _local(name) == key), "")


def _children(node: Element, kind: str) -> Iterator[Element]:
    return (child for child in node if _local(child.tag) == kind)


def _descendants(node: Element, kind: str) -> Iterator[Element]:
    return (found for found in node.iter() if _local(found.tag) == kind)


def _whole(text: str) -> int | None:
    """A positive whole number; None for anything else."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    return value or None


def _positive(text: str) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _shape(height: int | None, width: int | None) -> tuple[int, int] | None:
    return None if height is None or width is None else (height, width)
