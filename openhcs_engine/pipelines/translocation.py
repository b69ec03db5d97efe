"""Does a reporter move between cytoplasm and nucleus?"""

from __future__ import annotations

from openhcs_engine.functions import create_max_projection, cytoplasm, measure_translocation, segment_nuclei
from openhcs_engine.functions.objects.threshold import Threshold
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.pipeline import FunctionStep, Pipeline
from openhcs_engine.pipelines.nuclei import Sizes, steps_before


def translocation(
    *,
    reporter: str,
    nuclei: str = "DAPI",
    threshold: Threshold = "otsu",
    diameter_px: float | None = None,
    gap_diameters: float = 0.12,
    ring_diameters: float = 0.15,
    sizes: Sizes = "site",
) -> Pipeline:
    """Measure the ratio of a reporter's nuclear and cytoplasmic intensity in each cell.

    Parameters
    ----------
    reporter, nuclei
        The channels that show the reporter and the nuclei: their names or numbers.
    threshold, diameter_px
        As of :func:`openhcs_engine.functions.segment_nuclei`; without them they follow from the nuclei of each site.
    gap_diameters, ring_diameters
        The cytoplasm is a ring around the nucleus: how far from it the ring begins, and how wide it is, in diameters of
        the site's nuclei. By default it ends where a body of 1.5 nuclear radii does; where cells are spread more
        widely, 0.2 and 0.2 keep the blurred edge of a bright nucleus out of it. A ring is there wherever the reporter
        is; cells that are found by the reporter's brightness end at the nucleus when all of it has moved there.
    sizes
        As of :func:`count_nuclei`.

    Returns
    -------
    Pipeline
        Its images are maximum projections with the labels ``nuclei`` and ``cytoplasm``; the table ``translocation`` has
        a row a cell. ``ratio`` is that of the mean intensities after subtracting the site's background, null where the
        cytoplasm has fewer than 20 pixels; a well's value is ``Median_Translocation_ratio`` of the table ``wells``.

    Notes
    -----
    Nuclei at the border of an image are measured, too: both means are of what is seen of them, and a nucleus that was
    left out would lie in its neighbour's ring.
    """
    time = [VariableComponents.TIMEPOINT]
    found = {"threshold": threshold, "diameter_px": diameter_px, "border": "keep"}
    ring = {"ring_diameters": ring_diameters, "gap_diameters": gap_diameters}
    return Pipeline(
        [
            *steps_before(nuclei, sizes),
            FunctionStep(create_max_projection, name="project", variable_components=[VariableComponents.Z_INDEX]),
            FunctionStep(
                {nuclei: (segment_nuclei, found)}, name="find nuclei", uncovered="pass", variable_components=time
            ),
            FunctionStep(
                {reporter: [(cytoplasm, ring), measure_translocation]},
                name="measure reporter",
                uncovered="pass",
                variable_components=time,
            ),
        ],
        name="translocation",
    )


__all__ = ["translocation"]
