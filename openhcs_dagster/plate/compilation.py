"""A plate's pipeline, imported and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_engine.memory.devices import DevicePolicy, Inventory, find_inventory
from openhcs_engine.microscopes.plate_listing import PlateListing
from openhcs_engine.model.digest import digest
from openhcs_engine.model.image_index import OnMissing, Projections
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint

if TYPE_CHECKING:
    from openhcs_engine.compiler import Compilation


def compile_entry(entry: CatalogueEntry, listing: PlateListing, devices: Inventory | None = None) -> Compilation:
    """Import the plate's pipeline and freeze what will happen to each well.

    Parameters
    ----------
    entry, listing
        The plate.
    devices
        What the steps may be planned for, as far as the plate's policy allows; default: this host's.

    Raises
    ------
    PipelineImportError
        If the pipeline cannot be found or imported.
    CompilationError
        If it cannot run on this plate; ``violations`` lists every reason.
    """
    from openhcs_engine.compiler import compile_plate
    from openhcs_engine.memory.packages import cpu_builds
    from openhcs_engine.pipeline.load import load_pipeline

    channels = [channel.label for channel in listing.plate.channels]
    pipeline = load_pipeline(entry.pipeline, entry.search_path, entry.options.set, channels)
    return compile_plate(
        listing.plate,
        listing.index,
        pipeline,
        # A link that leads there is followed once: should it change meanwhile, the wells of one run stay together.
        output=replace(entry.output_plan, root=str(Path(entry.output).resolve()), pipeline=pipeline.name),
        projections=Projections(entry.options.projections),
        on_missing=OnMissing(entry.options.on_missing),
        devices=devices or find_inventory(),
        device_policy=DevicePolicy(entry.options.device),
        cpu_builds=cpu_builds,
        locate=lambda: entry.reading.detect(str(entry.folder)).locate(listing.index),
    )


def fits_of_pipeline(entry: CatalogueEntry) -> tuple[str, ...]:
    """Import the plate's pipeline; the names of what it fits once for the plate.

    Raises
    ------
    PipelineImportError
        If the pipeline cannot be found or imported.
    """
    from openhcs_engine.pipeline.load import load_pipeline
    from openhcs_engine.pipeline.plate_step import PlateStep

    steps = load_pipeline(entry.pipeline, entry.search_path, entry.options.set)
    return tuple(str(step.name) for step in steps if isinstance(step, PlateStep) and step.enabled is not False)


def plan_version(contexts: Mapping[str, ProcessingContext]) -> str:
    """Version of a plan in the UI: a changed plate map makes records and report stale, though no well's pixels are."""
    fingerprint = plan_fingerprint(contexts.values())
    plate_map = next(iter(contexts.values())).plate.plate_map
    return fingerprint if plate_map is None else digest([fingerprint, plate_map])
