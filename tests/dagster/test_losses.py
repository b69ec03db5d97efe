"""Values that casts lost, where a person looks: the report, the well's record, the table, the command's last lines."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from openhcs_dagster.cli.screen import PlateScreen
from openhcs_dagster.report.outcomes import OutcomeLog
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.output.manifest import WellManifest
from openhcs_engine.output.reading.losses import losses_of
from tests.dagster.deployments import Deployment
from tests.dagster.test_plate_graph import recorded

FRACTIONS = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents

def fractions(stack):
    return stack / 65535.0

pipeline = Pipeline([FunctionStep(fractions, name="<Smooth>", variable_components=[VariableComponents.Z_INDEX])])
"""


def test_a_vanished_plate_says_so_everywhere(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Report, table, record, outcome and the command's summary carry the warning; a second run, which computes nothing,
    does too."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("vanishing", text=FRACTIONS))
    for _ in range(2):
        run = deployment.run(entry, "A01", "A02")

        page = Path(run.report or "").read_text()
        metadata = recorded(deployment, "P001")["A02"].metadata
        with PlateScreen(entry, 2) as screen:
            screen.finish(run)

        assert "<h2>Values were lost in 2 wells</h2>" in page
        section = page[page.index("Values were lost") :]
        row = section[section.index("<tr><td>") : section.index("</table>")]
        assert row.startswith("<tr><td><b>A01, A02</b></td><td><span class=tag") and ">warning</span>" in row
        assert "<td>1. &lt;Smooth&gt;</td><td>vanishing:fractions returned float64 from " in row
        assert "all of it was rounded to 0. Declare dtype=" in row and "<Smooth>" not in page
        assert "; warning: step 1 &#34;&lt;Smooth&gt;&#34;: vanishing:fractions returned" in page
        table = csv.DictReader(io.StringIO(Path(run.report or "").with_name("wells.csv").read_text()))
        warnings = {line["well"]: line["warnings"] for line in table}
        assert "all of it was rounded to 0" in warnings["A01"] and warnings["B01"] == ""
        assert "all of it was rounded to 0" in str(metadata["warnings"])
        outcomes = OutcomeLog(entry.output_plan.folder).latest()
        assert outcomes["A01"].warnings == (warnings["A01"],)
        assert "with warnings" in capsys.readouterr().out


def test_the_steps_table_of_a_record_names_what_was_lost(deployment: Deployment) -> None:
    """Beside device and conversions; a plate that loses nothing has no such column and no such section."""
    lossy = deployment.add(deployment.plate(), deployment.pipeline("vanishing", text=FRACTIONS))
    sound = deployment.add(deployment.plate("P002"), deployment.pipeline("sound"))
    deployment.run(lossy, "A01")
    run = deployment.run(sound, "A01")

    assert "values lost" in str(recorded(deployment, "P001")["A01"].metadata["steps"])
    metadata = recorded(deployment, "P002")["A01"].metadata
    assert "values lost" not in str(metadata["steps"]) and "warnings" not in metadata
    assert "Values were lost" not in Path(run.report or "").read_text()


def manifest(well: str, *casts: dict[str, object]) -> WellManifest:
    """A well whose one step had these lossy casts."""
    step = {"number": 1, "name": "f", "lossy_casts": casts}
    return WellManifest(
        well=well, fingerprint="", backend="zarr", finished="", seconds=0.0, device="cpu:0", files=(),
        provenance=FrozenMap.of({"steps": [step]}),
    )  # fmt: skip


def test_wells_of_one_loss_are_one_row() -> None:
    """Their ranges and counts together; infinite ends, which JSON cannot hold, come back; warnings come first."""
    small = {"function": "m:f", "source": "int32", "wanted": "uint8", "low": -1, "high": 9, "values": 1000}
    large = {"function": "m:g", "source": "float64", "wanted": "uint8", "low": None, "high": 3, "values": 10}
    small["clipped"], large["clipped"] = 1, 9

    first, second = losses_of({"A01": manifest("A01", small), "A02": manifest("A02", small, large)})

    assert (first.cast.function, first.cast.low, first.wells, first.warns) == ("m:g", -math.inf, ("A02",), True)
    assert (second.cast.clipped, second.cast.values, second.wells, second.warns) == (2, 2000, ("A01", "A02"), False)
    assert losses_of({"A01": WellManifest(
        well="A01", fingerprint="", backend="zarr", finished="", seconds=0.0, device="cpu:0", files=()
    )}) == ()  # fmt: skip
