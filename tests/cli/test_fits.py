"""What is fitted once a plate, on the command line: nuclei of a plate of which an image is damaged."""

from __future__ import annotations

from pathlib import Path

from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.cli.test_cli import openhcs

LAB = """
from openhcs_engine import FunctionStep, Pipeline, PlateStep, Sample
from openhcs_engine.functions import fit_nuclei, segment_nuclei

def count(nuclei: str = "DAPI", minimum: int = 2) -> Pipeline:
    return Pipeline([
        PlateStep(fit_nuclei, sample=Sample(images=6, minimum=minimum, channels=nuclei)),
        FunctionStep({nuclei: (segment_nuclei, {"threshold": "fit"})}, uncovered="pass"),
    ])
"""


def test_a_partial_fit_is_said_by_compile_run_and_the_next_run(tmp_path: Path) -> None:
    """Once, with the number of its wells; a well that failed is not called unchanged, and nothing is fitted twice."""
    (tmp_path / "lab.py").write_text(LAB)
    spec = SyntheticPlate(
        name="plate",
        rows=1,
        columns=3,
        sites=2,
        z=1,
        shape=(96, 96),
        objects_per_megapixel=2000,
        truncated_wells=("A02",),
    )
    plate = write_imagexpress(tmp_path / "plate", spec)
    words = (plate, "--pipeline", "lab:count", "--output", tmp_path / "out", "--workers", "1")

    compiled = openhcs(tmp_path, "compile", *words[:-2]).out
    first = openhcs(tmp_path, "run", *words)
    again = openhcs(tmp_path, "run", *words)

    assert "plate step fit_nuclei" in compiled and "6 of 6 asked for, channel DAPI" in compiled
    printed = first.out + first.err
    assert printed.count("warning: fit_nuclei is fitted on 5 of the 6 images of channel DAPI") == 1
    assert "is cut off" in printed and "fitting fit_nuclei on 6 images" in printed
    assert "unchanged, and warned of" not in printed and "2 done, 1 failed" in printed
    printed = again.out + again.err
    assert "unchanged, and warned of when they were made: A01, A03; see wells" in printed
    assert "fitting fit_nuclei" not in printed and "looking whether they can be read now" in printed

    refused = openhcs(tmp_path, "compile", *words[:-2], "--set", "fit_nuclei.diameter_px=-1", "--set", "minimum=9")
    assert "fit_nuclei: diameter_px=-1.0 must be a finite number of pixels above 0." in refused.out + refused.err
    assert "put PlateStep(fit_nuclei" not in refused.err  # there is one, and what is wrong with it is said
    assert "fewer than its minimum=9" in refused.out + refused.err
