"""A plate's pipeline, imported and compiled."""

from __future__ import annotations

from openhcs_dagster.catalogue import CatalogueEntry
from openhcs_dagster.listing import PlateListing
from openhcs_engine.context import ProcessingContext
from openhcs_engine.model.image_index import OnMissing, Projections


def compile_entry(entry: CatalogueEntry, listing: PlateListing) -> dict[str, ProcessingContext]:
    """Import the plate's pipeline and freeze what will happen to each well.

    Raises
    ------
    PipelineImportError
        If the pipeline cannot be found or imported.
    CompilationError
        If it cannot run on this plate; ``violations`` lists every reason.
    """
    from openhcs_engine.compiler.compile import compile_plate
    from openhcs_engine.pipeline.load import load_pipeline

    pipeline = load_pipeline(entry.pipeline, entry.search_path)
    return compile_plate(
        listing.plate,
        listing.index,
        pipeline,
        output=entry.output_plan,
        projections=Projections(entry.options.projections),
        on_missing=OnMissing(entry.options.on_missing),
    ).contexts
