"""What the command line prints: the JSON forms, which are a contract, and tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openhcs_engine.cli.printing import JsonRow, well_span
from openhcs_engine.model.completeness import describe_missing, missing_planes
from openhcs_engine.model.image_index import ImageIndex, ImagePlane, PlaneKind
from openhcs_engine.model.plate import Plate


def plane_rows(index: Iterable[ImagePlane]) -> list[JsonRow]:
    """Planes as ``openhcs planes --json`` prints them."""
    return [
        {
            "well": plane.key.well,
            "site": plane.key.site,
            "channel": plane.key.channel,
            "z_index": plane.key.z_index,
            "timepoint": plane.key.timepoint,
            "path": plane.path,
            "kind": plane.kind.value,
            "present": plane.present,
            "x_um": plane.x_um,
            "y_um": plane.y_um,
            "z_um": plane.z_um,
        }
        for plane in index
    ]


def inspection(plate: Plate, index: ImageIndex) -> JsonRow:
    """A plate as ``openhcs inspect --json`` prints it."""
    return {
        "plate_id": plate.plate_id,
        "name": plate.name,
        "microscope": plate.microscope,
        "wells": plate.wells,
        "absent_wells": plate.absent_wells,
        "sites": plate.sites,
        "channels": [
            {"index": channel.index, "name": channel.name, "wavelength_nm": channel.wavelength_nm}
            for channel in plate.channels
        ],
        "z_indexes": plate.z_indexes,
        "timepoints": plate.timepoints,
        "pixel_size_um": plate.pixel_size_um,
        "z_step_um": plate.z_step_um,
        "grid": plate.grid,
        "stage_frame": plate.stage_frame,
        "positions": index.site_positions(),
        "shape": plate.shape,
        "dtype": plate.dtype,
        "plate_map": _plate_map(plate),
        "missing": plane_rows(missing_planes(plate, index)),
        "errors": plate.errors,
        "warnings": plate.warnings,
        "notes": plate.notes,
    }


def _plate_map(plate: Plate) -> JsonRow | None:
    """Conditions and role of each well; None where no map was given."""
    plate_map = plate.plate_map
    if plate_map is None:
        return None
    return {well: {**plate_map.of_well(well), "role": plate_map.role(well)} for well in plate_map.wells}


def print_inspection(plate: Plate, index: ImageIndex) -> None:
    """A plate as a person reads it."""
    present = Counter(plane.kind for plane in index.present())
    table = Table(title=f"{escape(plate.name)} ({plate.microscope})", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "plate id": plate.plate_id,
        "wells": f"{len(plate.wells)}: {well_span(plate.wells)}",
        "sites": _numbers(plate.sites),
        "channels": ", ".join(f"{channel.index} {channel.label}" for channel in plate.channels),
        "z planes": _numbers(plate.z_indexes) + (f", {plate.z_step_um:g} µm apart" if plate.z_step_um else ""),
        "time points": _numbers(plate.timepoints),
        "image": _image(plate),
        "grid": f"{plate.grid.rows} x {plate.grid.columns} sites (rows x columns)" if plate.grid else "unknown",
        "planes": f"{present[PlaneKind.PLANE]} planes, {present[PlaneKind.PROJECTION]} projections",
        "missing": describe_missing(plate, index),
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console = Console()
    console.print(table)
    for kind, sentences in (("error", plate.errors), ("warning", plate.warnings), ("note", plate.notes)):
        for sentence in sentences:
            console.print(f"[yellow]{kind}:[/] {escape(sentence)}", soft_wrap=True)


def print_planes(index: ImageIndex) -> None:
    """One line a plane."""
    table = Table("well", "site", "channel", "z", "time", "kind", "file")
    for plane in index:
        numbers = (plane.key.site, plane.key.channel, plane.key.z_index, plane.key.timepoint)
        path = escape(plane.path or "") if plane.present else "[red]missing[/] " + escape(plane.path or "")
        table.add_row(plane.key.well, *("" if n is None else str(n) for n in numbers), plane.kind.value, path)
    Console().print(table)


def _numbers(values: tuple[int, ...]) -> str:
    if not values:
        return "none"
    if len(values) > 2 and values == tuple(range(values[0], values[-1] + 1)):
        return f"{len(values)}: {values[0]} to {values[-1]}"
    return f"{len(values)}: {', '.join(map(str, values))}"


def _image(plate: Plate) -> str:
    size = f"{plate.shape[1]} x {plate.shape[0]} px" if plate.shape else "size unknown"
    pixel = f"{plate.pixel_size_um:g} µm a pixel" if plate.pixel_size_um else "pixel size unknown"
    return f"{size}, {plate.dtype or 'type unknown'}, {pixel}"
