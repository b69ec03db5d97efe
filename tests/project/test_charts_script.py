"""The script that draws the charts: written by the build, whole, and no use of the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import vl_convert

from openhcs_dagster.report.charts import script as script_module
from openhcs_dagster.report.charts.script import SCRIPT, charts_script

NAMESPACES = {
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/2000/xmlns/",
}


def test_the_build_has_written_the_script() -> None:
    """With the versions that it has, of the distribution that the locks name, and with its licences beside it."""
    script = charts_script() or ""
    credits, _, bundle = script.partition("\n")

    assert f"Vega {vl_convert.get_vega_version()}," in credits and "vega.LICENSE.txt" in credits
    assert "window.vegaEmbed=" in bundle
    assert 500_000 < len(script) < 1_000_000
    licences = SCRIPT.with_name("vega.LICENSE.txt").read_text()
    assert all(name in licences for name in ("University of Washington", "Mike Bostock", "Jon Mease"))


def test_the_script_stays_inside_of_its_element_and_names_no_server() -> None:
    """Nothing in it ends a ``<script>``; addresses are names in XML, or of Vega's editor, which no page offers."""
    script = charts_script() or ""
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", script)) - NAMESPACES

    assert "</script" not in script.lower() and "<!--" not in script
    assert all(
        re.match(r"https://(vega\.github\.io/(editor|schema)|github\.com/vega)/", address) for address in addresses
    )


def test_sources_that_nobody_built_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no error to ask."""
    monkeypatch.setattr(script_module, "SCRIPT", tmp_path / "vega.js")

    assert charts_script() is None
