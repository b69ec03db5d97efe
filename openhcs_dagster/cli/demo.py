"""The demo: a synthetic plate with one damaged well, and a pipeline that counts its nuclei."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry, CatalogueError
from openhcs_dagster.catalogue.registration import register
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.functions import create_composite, stack_percentile_normalize
from openhcs_engine.pipelines import count_nuclei

PLATE_ID: Final = "demo_plate"
DAMAGED_WELL: Final = "C04"

pipeline = Pipeline(
    [
        *count_nuclei(),
        FunctionStep(
            (stack_percentile_normalize, {"low_percentile": 1.0, "high_percentile": 99.8}),
            name="Normalise",
            variable_components=[VariableComponents.TIMEPOINT],
        ),
        FunctionStep(create_composite, name="Composite", variable_components=[VariableComponents.CHANNEL]),
    ],
    name="demo",
)
"""Project each z stack, count and measure the nuclei, then normalise and join the channels for the eye."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Nuclei of the wells that were counted, and how many were planted in the same wells."""

    wells: int
    nuclei: int
    planted: int

    def __str__(self) -> str:
        away = abs(self.nuclei - self.planted) / max(self.planted, 1)
        return f"{self.nuclei} nuclei in {self.wells} wells; {self.planted} were planted there ({away:.1%} off)"


def counted(folder: Path) -> Counted:
    """The demo's number, from the tables of its results and the truth beside its plate.

    Raises
    ------
    OSError
        If there are none.
    """
    import polars as pl

    from openhcs_engine.synthetic import truth_path

    table = pl.read_parquet(folder / "results" / PLATE_ID / "tables" / "wells.parquet")
    counts = table.filter(pl.col("site").is_null()).select("well", "Count_Nuclei")
    truth = json.loads(truth_path(folder / "plates" / PLATE_ID).read_text(encoding="utf-8"))["wells"]
    planted = sum(len(nuclei) for well in counts["well"] for nuclei in truth[well]["sites"].values())
    return Counted(len(counts), int(counts["Count_Nuclei"].sum()), planted)


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
