"""The demo: a synthetic plate with one damaged well, and a pipeline for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry, CatalogueError
from openhcs_dagster.catalogue.registration import register
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.functions import create_composite, create_max_projection, stack_percentile_normalize

PLATE_ID: Final = "demo_plate"
DAMAGED_WELL: Final = "C04"

pipeline = Pipeline(
    [
        FunctionStep(
            func=[
                (stack_percentile_normalize, {"low_percentile": 1.0, "high_percentile": 99.8}),
                create_max_projection,
            ],
            name="Normalise and project",
            variable_components=[VariableComponents.Z_INDEX],
        ),
        FunctionStep(func=create_composite, name="Composite", variable_components=[VariableComponents.CHANNEL]),
    ],
    name="demo",
)
"""Normalise each z stack, project it, and join the channels."""


def prepare_demo(folder: Path, catalogue: Catalogue) -> CatalogueEntry:
    """Write the demo's plate, if it is not there, and register it anew; its earlier results are deleted."""
    from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

    plate, output = folder / "plates" / PLATE_ID, folder / "results"
    if not plate.is_dir():
        write_imagexpress(plate, SyntheticPlate(name=PLATE_ID, truncated_wells=(DAMAGED_WELL,)))
    try:
        known = catalogue.read(PLATE_ID)
    except CatalogueError:
        pass
    else:
        _check_ours(known, plate)
        catalogue.remove(PLATE_ID)
    if (output / PLATE_ID).is_dir():
        refuse_links_below(output, PLATE_ID)
        shutil.rmtree(output / PLATE_ID)
    return register(catalogue, plate, pipeline=f"{__name__}:pipeline", output=output, plate_id=PLATE_ID)


def _check_ours(known: CatalogueEntry, plate: Path) -> None:
    if Path(known.folder) != plate.resolve():
        raise CatalogueError(
            f"Plate {PLATE_ID!r} is registered with another folder ({known.folder}); remove it first with "
            f"`openhcs-dagster remove {PLATE_ID}`.",
            plate_id=PLATE_ID,
        )
