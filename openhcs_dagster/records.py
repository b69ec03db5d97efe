"""What is written into Dagster's events: the facts that a person looks for in the UI."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg
import numpy as np

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.conditions import NAMED, WellConditions
from openhcs_dagster.drawing import PlatePictures
from openhcs_dagster.grey import png, read_scales, scale_of, shrink, to_grey
from openhcs_dagster.listing import PlateListing
from openhcs_dagster.mosaic import Mosaic
from openhcs_dagster.report import PlateSummary, WellSummary, report_folder
from openhcs_dagster.step_tables import plan_table, steps_table
from openhcs_dagster.wells import PlateWells
from openhcs_engine.context import plan_fingerprint
from openhcs_engine.errors import CompilationError, OpenHCSError
from openhcs_engine.execution.results import WellResult
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PlateMap

if TYPE_CHECKING:
    from openhcs_engine.compiler import Compilation

Metadata = dict[str, dg.MetadataValue]

THUMBNAIL_BYTES: Final = 10_000
"""A thumbnail lives in the event log, once a well and run: 1536 wells x 10 kB are 15 MB a plate."""
PREVIEW_PX: Final = 96
"""Longest edge of a channel's part of the thumbnail."""
ROWS_SHOWN: Final = 200
"""Rows of a table in the UI; the rest is in the run's log."""


def listing_metadata(listing: PlateListing) -> Metadata:
    """What the microscope left."""
    plate = listing.plate
    return {
        "wells": dg.MetadataValue.int(len(plate.wells)),
        "planes": dg.MetadataValue.int(len(listing.index.present())),
        "missing planes": dg.MetadataValue.int(len(listing.index.missing())),
        "sites": dg.MetadataValue.int(len(plate.sites)),
        "channels": dg.MetadataValue.text(", ".join(channel.label for channel in plate.channels)),
        "instrument's name": dg.MetadataValue.text(plate.name),
        "warnings": dg.MetadataValue.md(_bullets((*plate.errors, *plate.warnings))),
    }


def plan_metadata(compilation: "Compilation", entry: CatalogueEntry) -> Metadata:
    """What will happen."""
    contexts = compilation.contexts
    first = next(iter(contexts.values()))
    functions = {call.reference: None for step in first.steps for route in step.routes for call in route.calls}
    return {
        "plan": dg.MetadataValue.md(plan_table(contexts)),
        "notes": dg.MetadataValue.md(_bullets(compilation.notes)),
        "wells": dg.MetadataValue.int(len(contexts)),
        "planes": dg.MetadataValue.int(sum(len(context.index) for context in contexts.values())),
        "devices": dg.MetadataValue.text(entry.options.device),
        "fingerprint": dg.MetadataValue.text(plan_fingerprint(contexts.values())),
        "pipeline": dg.MetadataValue.text(entry.pipeline),
        "functions": dg.MetadataValue.md(_bullets(tuple(f"`{reference}`" for reference in functions))),
        "output": dg.MetadataValue.path(str(entry.output_plan.folder)),
        "software": dg.MetadataValue.text(", ".join(first.versions)),
    }


def refusal_metadata(error: OpenHCSError) -> Metadata:
    """Every violation of a refused pipeline as a row; nothing for other errors."""
    if not isinstance(error, CompilationError):
        return {}
    rows = [
        dg.TableRecord({"step": violation.step or "", "what": violation.message, "key": violation.key or ""})
        for violation in error.violations[:ROWS_SHOWN]
    ]
    return {"violations": dg.MetadataValue.table(rows)} if rows else {}


def wells_failed(failed: Mapping[str, str], asked: int) -> dg.Failure:
    """The end of a run in which wells failed; the others are recorded already."""
    rows = [dg.TableRecord({"well": well, "why": reason}) for well, reason in sorted(failed.items())[:ROWS_SHOWN]]
    return dg.Failure(
        f"{len(failed)} of {asked} wells failed: {', '.join(sorted(failed))}. The others are published.",
        metadata={"failed wells": dg.MetadataValue.table(rows), "wells failed": len(failed)},
        allow_retries=False,
    )


class Pictures:
    """Thumbnails of a plate's wells: on the plate's scale once a report has found one, before on the well's own."""

    def __init__(self, entry: CatalogueEntry, plate: Plate) -> None:
        self._wells = PlateWells(entry.output_plan.folder, entry.options.backend)
        self._scales = read_scales(report_folder(entry))
        self._mosaic = Mosaic.of(plate, PREVIEW_PX // 2)

    def metadata(self, well: str) -> Metadata:
        """A markdown picture of the well, channels side by side, and what its scale is."""
        try:
            planes = self._wells.small(well, PREVIEW_PX, self._mosaic)
        except OpenHCSError as error:  # a well without a picture is still a published well
            return {"preview": dg.MetadataValue.text(f"No picture: {error}")}
        if not planes:
            return {"preview": dg.MetadataValue.text("No picture: the planes that it would show do not exist.")}
        # PNG of noise is not smaller than its pixels: the edge alone keeps the size.
        side = min(PREVIEW_PX, int(((THUMBNAIL_BYTES - 600) / len(planes)) ** 0.5))
        on_plate = all(channel in self._scales for channel in planes)
        scales = self._scales if on_plate else {channel: scale_of([plane]) for channel, plane in planes.items()}
        tiles = [to_grey(shrink(plane, side), scales[channel]) for channel, plane in planes.items()]
        height = max(tile.shape[0] for tile in tiles)
        strip = np.hstack([np.pad(tile, ((0, height - tile.shape[0]), (0, 2))) for tile in tiles])
        return {
            "preview": image(png(strip), ", ".join(planes)),
            "scale": dg.MetadataValue.text("plate" if on_plate else "this well"),
        }


def image(picture: bytes, text: str) -> dg.MarkdownMetadataValue:
    """A PNG that the UI shows."""
    return dg.MetadataValue.md(f"![{text}](data:image/png;base64,{base64.b64encode(picture).decode()})")


def well_conditions(plate_map: PlateMap | None, well: str) -> Metadata:
    """What was in the well; nothing without a plate map."""
    conditions = WellConditions.of(plate_map, well)
    if conditions is None:
        return {}
    told = {"role": conditions.role and conditions.role.value, **{name: conditions.values.get(name) for name in NAMED}}
    others = tuple(f"{name}: {value}" for name, value in conditions.others.items())
    return {
        **{name: dg.MetadataValue.text(value) for name, value in told.items() if value},
        **({"conditions": dg.MetadataValue.md(_bullets(others))} if others else {}),
    }


def well_materialization(
    key: dg.AssetKey, result: WellResult, tags: Mapping[str, str], described: Metadata
) -> dg.AssetMaterialization:
    """The record of one published well; ``described`` is what it looks like, and what was in it."""
    return dg.AssetMaterialization(
        asset_key=key,
        partition=result.well,
        description=f"Well {result.well}: {result.status}",
        metadata={
            **described,
            "status": dg.MetadataValue.text(result.status.value),
            "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
            "device": dg.MetadataValue.text(result.device),
            **_steps(result),
            "store": dg.MetadataValue.path(result.store_path or ""),
            "bytes": dg.MetadataValue.int(result.bytes_written),
            "fingerprint": dg.MetadataValue.text(result.fingerprint),
        },
        tags=dict(tags),
    )


def well_failure(key: dg.AssetKey, result: WellResult, described: Metadata) -> dg.AssetObservation:
    """Why a well failed, where a person looks for it: on the well's own page, which else says only that it did."""
    return dg.AssetObservation(
        asset_key=key,
        partition=result.well,
        description=result.error,
        metadata={
            "status": dg.MetadataValue.text(result.status.value),
            "why": dg.MetadataValue.text(result.error or ""),
            **described,
            **_steps(result),
            "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
            "device": dg.MetadataValue.text(result.device),
        },
    )


def _steps(result: WellResult) -> Metadata:
    """What the steps did, and what a person should know of the well; nothing for one that was not computed."""
    return {
        **({"steps": dg.MetadataValue.md(steps_table(result.steps))} if result.steps else {}),
        **({"notes": dg.MetadataValue.md(_bullets(result.notes))} if result.notes else {}),
    }


def report_metadata(summary: PlateSummary, pictures: PlatePictures, page: Path, table: Path) -> Metadata:
    """The plate at a glance."""
    bad = [_row(well) for well in summary.not_current[:ROWS_SHOWN]]
    counts: Metadata = {f"wells {state}": dg.MetadataValue.int(count) for state, count in summary.counts.items()}
    montages: Metadata = {
        f"montage {channel}": image(picture, f"{channel}: {pictures.scales[channel]}")
        for channel, picture in pictures.montages.items()
    }
    return {
        "plate": image(pictures.status, "status of the wells"),
        **counts,
        **({"wells needing attention": dg.MetadataValue.table(bad)} if bad else {}),
        **({"plate map": image(pictures.plate_map, "what was in the wells")} if pictures.plate_map else {}),
        **montages,
        **({"seconds per well": image(pictures.seconds, "seconds per well")} if pictures.seconds else {}),
        "seconds": dg.MetadataValue.float(round(summary.seconds, 2)),
        "report": dg.MetadataValue.path(str(page)),
        "report link": dg.MetadataValue.url(page.as_uri()),
        "table of wells": dg.MetadataValue.path(str(table)),
        "plan": dg.MetadataValue.text(summary.fingerprint),
    }


def _row(well: WellSummary) -> dg.TableRecord:
    contents = {"contents": well.conditions.phrase} if well.conditions else {}
    return dg.TableRecord({"well": well.well, "state": well.state.value, **contents, "why": well.reason})


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "none"
