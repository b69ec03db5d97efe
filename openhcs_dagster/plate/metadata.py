"""What is written into Dagster's events: the facts that a person looks for in the UI."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg
import numpy as np

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.plate.markdown import plan_table, steps_table, volume_table
from openhcs_dagster.report.conditions import NAMED, WellConditions
from openhcs_dagster.report.inline_map import glance
from openhcs_dagster.report.overview import PlateOverview
from openhcs_dagster.report.pictures import PlatePictures
from openhcs_dagster.report.summary import PlateSummary, WellSummary, report_folder
from openhcs_engine.errors import CompilationError, OpenHCSError, UnknownWellError
from openhcs_engine.execution.results import WellResult
from openhcs_engine.microscopes.plate_listing import PlateListing
from openhcs_engine.model.completeness import describe_missing, missing_planes
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.plate_map import PlateMap
from openhcs_engine.model.wells import plate_order
from openhcs_engine.model.wording import listed_first
from openhcs_engine.output.folder.output import PlateFolder
from openhcs_engine.output.layout import is_preview
from openhcs_engine.output.pictures.greyscale import png, read_scales, scale_of, to_grey
from openhcs_engine.output.pictures.mosaic import Mosaic
from openhcs_engine.output.pictures.previews import PREVIEW_PX, Preview
from openhcs_engine.output.reading.previews import preview_of
from openhcs_engine.output.tables.numbers import numbers_of, tables_of
from openhcs_engine.plan.context import plan_fingerprint

if TYPE_CHECKING:
    from openhcs_engine.compiler import Compilation

Metadata = dict[str, dg.MetadataValue]

THUMBNAIL_BYTES: Final = 10_000
"""A thumbnail lives in the event log, once a well and run: 1536 wells x 10 kB are 15 MB a plate."""
NUMBERS_SHOWN: Final = 60
"""Numbers of a well: its record stands in the event log, once a run."""
FAILED_NAMED: Final = 24
"""Failed wells that the end of a run names; the table beside it has more."""
ROWS_SHOWN: Final = 200
"""Rows of a table in the UI; the rest is in the run's log."""


def listing_metadata(listing: PlateListing) -> Metadata:
    """What the microscope left."""
    plate = listing.plate
    return {
        "wells": dg.MetadataValue.int(len(plate.wells)),
        "planes": dg.MetadataValue.int(len(listing.index.present())),
        "missing planes": dg.MetadataValue.int(len(missing_planes(plate, listing.index))),
        "missing": dg.MetadataValue.text(describe_missing(plate, listing.index)),
        "sites": dg.MetadataValue.int(len(plate.sites)),
        "channels": dg.MetadataValue.text(", ".join(channel.label for channel in plate.channels)),
        "instrument's name": dg.MetadataValue.text(plate.name),
        "warnings": dg.MetadataValue.md(_bullets((*plate.errors, *plate.warnings))),
    }


def plan_metadata(compilation: "Compilation", entry: CatalogueEntry) -> Metadata:
    """What will happen: the table that ``openhcs compile`` prints, with the time that earlier runs let expect."""
    from openhcs_engine.output.timings import measured_for
    from openhcs_engine.plan.facts import facts_of_plan

    contexts = compilation.contexts
    facts = facts_of_plan(contexts, measured_for(contexts))
    first = next(iter(contexts.values()))
    functions = {call.reference: None for step in first.steps for route in step.routes for call in route.calls}
    return {
        "plan": dg.MetadataValue.md(plan_table(facts)),
        "bytes": dg.MetadataValue.md(volume_table(facts)),
        "time": dg.MetadataValue.text(facts.time.told),
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
    wells = sorted(failed, key=plate_order)
    rows = [dg.TableRecord({"well": well, "why": failed[well]}) for well in wells[:ROWS_SHOWN]]
    named = listed_first(wells, FAILED_NAMED)
    others = " The others are published." if len(wells) < asked else ""
    first = f" {failed[wells[0]]}" if len(set(failed.values())) == 1 else f" The first: {failed[wells[0]]}"
    return dg.Failure(
        f"{len(failed)} of {asked} {'well' if asked == 1 else 'wells'} failed: {named}.{others}{first}",
        metadata={"failed wells": dg.MetadataValue.table(rows), "wells failed": len(failed)},
        allow_retries=False,
    )


class Pictures:
    """Thumbnails of a plate's wells: on the plate's scale once a report has found one, before on the well's own."""

    def __init__(self, entry: CatalogueEntry, plate: Plate) -> None:
        options = entry.options
        self._output = PlateFolder(entry.output_plan.folder, options.backend, options.fsync)
        self._scales = read_scales(report_folder(entry))
        self._mosaic = Mosaic.of(plate, PREVIEW_PX // 2)
        self.refused = ""
        """Why previews could not be given to wells that were published without one; empty if nothing was refused."""

    def metadata(self, well: str) -> Metadata:
        """A markdown picture of the well, channels side by side, and what its scale is.

        A well that an earlier version published is given its preview.
        """
        try:
            preview = self._preview(well)
        except (OpenHCSError, OSError) as error:  # a well without a picture is still a published well
            return {"preview": dg.MetadataValue.text(f"No picture: {error}")}
        # PNG of noise is not smaller than its pixels: the edge alone keeps the size.
        side = min(PREVIEW_PX, int(((THUMBNAIL_BYTES - 600) / len(preview.channels)) ** 0.5))
        pictures = preview.pictures(side, self._mosaic)
        on_plate = all(channel in self._scales for channel in pictures)
        scales = self._scales if on_plate else {channel: scale_of([plane]) for channel, plane in pictures.items()}
        tiles = [to_grey(plane, scales[channel]) for channel, plane in pictures.items()]
        height = max(tile.shape[0] for tile in tiles)
        strip = np.hstack([np.pad(tile, ((0, height - tile.shape[0]), (0, 2))) for tile in tiles])
        return {
            "preview": image(png(strip), ", ".join(pictures)),
            "scale": dg.MetadataValue.text("plate" if on_plate else "this well"),
        }

    def _preview(self, well: str) -> Preview:
        manifest = self._output.published(well)
        if manifest is None:
            raise UnknownWellError(f"Well {well} is not published in {self._output.folder} any more.", well=well)
        preview = preview_of(self._output.folder, manifest)
        if not any(is_preview(file.path) for file in manifest.files):
            content = preview.encode(manifest.image_bytes)
            try:
                if content is not None:
                    self._output.add_preview(manifest, content)
            except OpenHCSError as error:  # a full disk, or a link: the next time, and the well has a picture anyway
                self.refused = str(error)
        return preview


def well_numbers(entry: CatalogueEntry, plate: Plate, well: str) -> Metadata:
    """The main numbers of a published well by name, which the UI plots over the wells; nothing without tables.

    Those that are null, as a median of no object, are left out.
    """
    output = PlateFolder(entry.output_plan.folder, entry.options.backend)
    names = {channel.index: channel.label for channel in plate.channels}
    try:
        manifest = output.published(well)
        numbers = () if manifest is None else numbers_of(tables_of(output.folder, manifest), names)
    except (OpenHCSError, OSError) as error:  # a well whose tables cannot be read now is still a published well
        return {"numbers": dg.MetadataValue.text(f"No numbers: {error}")}
    main = [(each.name, each.value) for each in numbers if each.is_main]
    return {name: _number(value) for name, value in main[:NUMBERS_SHOWN] if value is not None}


def _number(value: float | int) -> dg.MetadataValue:
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


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
        **({"missing planes": dg.MetadataValue.int(result.missing_planes)} if result.missing_planes else {}),
        **({"warnings": dg.MetadataValue.md(_bullets(result.warnings))} if result.warnings else {}),
        **({"notes": dg.MetadataValue.md(_bullets(result.notes))} if result.notes else {}),
    }


def wells_warned(warnings: Mapping[str, Sequence[str]]) -> str:
    """One sentence about the wells of a run that carry warnings."""
    wells = sorted(warnings, key=plate_order)
    named = listed_first(wells, FAILED_NAMED)
    return f"{len(wells)} published wells carry warnings: {named}. {wells[0]}, {warnings[wells[0]][0]}"


def report_metadata(summary: PlateSummary, pictures: PlatePictures, page: Path, table: Path) -> Metadata:
    """The plate at a glance."""
    bad = _attention(summary.not_current)[:ROWS_SHOWN]
    counts: Metadata = {f"wells {state}": dg.MetadataValue.int(count) for state, count in summary.counts.items()}
    warned = sum(bool(well.warnings) for well in summary.wells)
    counts |= {"wells with warnings": dg.MetadataValue.int(warned)} if warned else {}
    montages: Metadata = {
        f"montage {channel}": image(picture, f"{channel}: {pictures.scales[channel]}")
        for channel, picture in pictures.montages.items()
    }
    small = glance(summary)
    return {
        **({"plate": dg.MetadataValue.md(small)} if small else {}),
        **({"wells needing attention": dg.MetadataValue.table(bad)} if bad else {}),
        **(
            {"wells with gaps": dg.MetadataValue.table(_attention(gaps)[:ROWS_SHOWN])}
            if (gaps := summary.with_gaps)
            else {}
        ),
        **counts,
        "status map": image(pictures.status, "status of the wells"),
        **({"plate map": image(pictures.plate_map, "what was in the wells")} if pictures.plate_map else {}),
        **montages,
        **({"seconds per well": image(pictures.seconds, "seconds per well")} if pictures.seconds else {}),
        "seconds": dg.MetadataValue.float(round(summary.seconds, 2)),
        # A path to copy: browsers open no link to a file from a page of the web.
        "report": dg.MetadataValue.path(str(page)),
        "table of wells": dg.MetadataValue.path(str(table)),
        "plan": dg.MetadataValue.text(summary.fingerprint),
    }


def overview_metadata(overview: PlateOverview | None) -> Metadata:
    """Where the plate's overview image is, and what it shows; nothing if there is none."""
    if overview is None:
        return {}
    return {
        "overview": dg.MetadataValue.path(str(overview.folder)),
        "overview channel": dg.MetadataValue.text(overview.told),
    }


def _attention(wells: Sequence[WellSummary]) -> list[dg.TableRecord]:
    """A row for all wells of one state, contents and reason: a stale plate is one fact, not 384."""
    groups: dict[tuple[str, str | None, str], list[str]] = {}
    for well in wells:
        contents = well.conditions.phrase if well.conditions else None
        groups.setdefault((well.state.value, contents, well.reason), []).append(well.well)
    mapped = any(contents is not None for _, contents, _ in groups)
    return [
        dg.TableRecord(
            {
                "wells": ", ".join(names),
                "state": state,
                **({"contents": contents or ""} if mapped else {}),
                "why": reason,
            }
        )
        for (state, contents, reason), names in groups.items()
    ]


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "none"
