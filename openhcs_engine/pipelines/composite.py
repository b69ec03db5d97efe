"""A picture of each site: its z planes projected, its channels mixed."""

from __future__ import annotations

from typing import Literal

from openhcs_engine.functions import (
    create_composite,
    create_max_projection,
    create_mean_projection,
    stack_percentile_normalize,
)
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.pipeline import FunctionStep, Pipeline


def project_and_composite(
    *,
    projection: Literal["max", "mean"] = "max",
    stretch: bool = True,
    weights: list[float] | None = None,
) -> Pipeline:
    """Project the z planes of each channel, and mix the channels into one picture.

    Parameters
    ----------
    projection
        ``max`` or ``mean`` of the z planes.
    stretch
        Whether each channel of a site is stretched to the range of its pixel type first, so that a dim channel is seen
        beside a bright one. Brightness cannot be compared between sites then; the projections are kept as they are.
    weights
        One number a channel, of which only the ratios matter; None: all count the same.

    Returns
    -------
    Pipeline
        Its images are the composites; the projections of all channels are kept as ``projections.zarr``.
    """
    project = create_max_projection if projection == "max" else create_mean_projection
    projected = FunctionStep(
        project, name="project", variable_components=[VariableComponents.Z_INDEX], materialize="projections"
    )
    stretched = FunctionStep(
        stack_percentile_normalize, name="stretch", variable_components=[VariableComponents.TIMEPOINT]
    )
    mixed = FunctionStep(
        (create_composite, {"weights": weights}), name="composite", variable_components=[VariableComponents.CHANNEL]
    )
    return Pipeline([projected, *([stretched] if stretch else []), mixed], name="project_and_composite")


__all__ = ["project_and_composite"]
