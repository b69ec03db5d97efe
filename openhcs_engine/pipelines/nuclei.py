"""How many nuclei, how large, how bright."""

from __future__ import annotations

from typing import Literal, TypeAlias

from openhcs_engine.functions import create_max_projection, fit_nuclei, measure, segment_nuclei
from openhcs_engine.functions.objects.threshold import Threshold
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.pipeline import FunctionStep, Pipeline
from openhcs_engine.pipeline.plate_step import PlateStep, Sample

Sizes: TypeAlias = Literal["site", "plate"]
"""What sizes of nuclei follow from: each site by itself, or a sample of the plate."""


def count_nuclei(
    *,
    nuclei: str = "DAPI",
    threshold: Threshold = "otsu",
    diameter_px: float | None = None,
    minimum_area_px: float | None = None,
    maximum_area_px: float | None = None,
    border: Literal["exclude", "keep"] = "exclude",
    sizes: Sizes = "site",
) -> Pipeline:
    """Count the nuclei of each site, and measure their shape and their intensity in each channel.

    Parameters
    ----------
    nuclei
        The channel that shows nuclei: its name or number.
    threshold, diameter_px, minimum_area_px, maximum_area_px, border
        As of :func:`openhcs_engine.functions.segment_nuclei`. Without a diameter and areas they follow from the nuclei
        of each site, whose table ``nuclei_summary`` says them; no pixel size is needed.
    sizes
        ``plate``: diameter and areas follow from the nuclei of a sample of the plate, for all sites alike, and stand in
        ``fits/fit_nuclei``.

    Returns
    -------
    Pipeline
        Its images are maximum projections with the labels ``nuclei``; the table ``nuclei`` has a row a nucleus, and
        ``Count_Nuclei`` of the table ``wells`` the counts of sites and wells, 0 where there is none.
    """
    found = {
        "threshold": threshold,
        "diameter_px": diameter_px,
        "minimum_area_px": minimum_area_px,
        "maximum_area_px": maximum_area_px,
        "border": border,
    }
    return Pipeline(
        [
            *steps_before(nuclei, sizes),
            FunctionStep(create_max_projection, name="project", variable_components=[VariableComponents.Z_INDEX]),
            FunctionStep(
                {nuclei: (segment_nuclei, found)},
                name="find nuclei",
                uncovered="pass",
                variable_components=[VariableComponents.TIMEPOINT],
            ),
            FunctionStep(
                (measure, {"objects": "nuclei"}),
                name="measure nuclei",
                variable_components=[VariableComponents.CHANNEL],
            ),
        ],
        name="count_nuclei",
    )


def steps_before(nuclei: str, sizes: Sizes) -> list[PlateStep]:
    """What is fitted before nuclei are found: their sizes, where they are the plate's."""
    return [PlateStep(fit_nuclei, sample=Sample(channels=nuclei))] if sizes == "plate" else []


__all__ = ["Sizes", "count_nuclei", "steps_before"]
