"""What the UI shows with a new plan: the table of the command line, and what changed since the plan before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.definitions import build_resources
from openhcs_dagster.keys import PlateKeys
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.plate.plan_changes import FIRST_PLAN, change_since_last, changes_markdown
from openhcs_dagster.storage.io_manager import VfsIOManager
from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.plan.context import ProcessingContext
from tests.dagster.deployments import PIPELINE, Deployment
from tests.engine.plates import add, double, make_plate, output_plan


def plan(*steps: FunctionStep) -> dict[str, ProcessingContext]:
    """The plan of the small plate."""
    plate, index = make_plate()
    return compile_plate(plate, index, steps, output=output_plan()).contexts


def planned(deployment: Deployment, entry: CatalogueEntry) -> dict[str, str]:
    """Metadata of a new materialization of a plate's contexts, as text."""
    key = PlateKeys(entry.id).contexts
    graph = plate_graph(entry)
    index = next(asset for asset in graph.assets if PlateKeys(entry.id).index in asset.keys)
    contexts = next(asset for asset in graph.assets if key in asset.keys)
    result = dg.materialize(
        [index, contexts], instance=deployment.instance, resources=build_resources(deployment.settings)
    )
    assert result.success
    (made,) = result.asset_materializations_for_node(contexts.op.name)
    return {name: str(value.value) for name, value in made.metadata.items()}


def test_a_new_plan_tells_the_table_and_what_it_makes_stale(deployment: Deployment) -> None:
    """The first has nothing before it, the same again is equal, another parameter is named with its wells."""
    reference = deployment.pipeline("changing")
    entry = deployment.add(deployment.plate(), reference)

    first, again = planned(deployment, entry), planned(deployment, entry)
    (deployment.root / "lab" / "changing_2.py").write_text(PIPELINE.format(high=97.0))
    other = planned(deployment, replace(entry, pipeline="changing_2:pipeline"))

    assert first["changes"] == FIRST_PLAN
    assert again["changes"] == "**The plans are equal.**"
    assert other["changes"].startswith("**Wells: 6 stale.**")
    assert r"stale A01–B03 (6), because of step 1 \"Project\"".replace("\\", "") in other["changes"].replace("\\", "")
    assert "high_percentile 99.0 → 97.0" in other["changes"].replace("\\", "")
    assert "stack_percentile_normalize(high_percentile=97.0) → create_max_projection" in other["plan"].replace("\\", "")
    assert "| plate |" in other["bytes"] and "holds no results" in other["time"]


def test_after_a_run_the_plan_tells_how_long_it_will_take(deployment: Deployment) -> None:
    """From the wells that are published, and how many those are."""
    entry = deployment.add(deployment.plate(), deployment.pipeline("timed"))
    run = deployment.run(entry, "A01", "A02")
    assert run.refusal is None

    found = planned(deployment, entry)

    assert found["time"].startswith("about ") and "(2 wells measured)" in found["time"]
    assert "(2 wells measured)" in found["plan"]


def test_wells_are_told_in_groups_and_what_makes_none_stale_last() -> None:
    """In markdown, with the characters that it would take for itself escaped."""
    before = plan(FunctionStep(add, name="One *"), FunctionStep(double, name="Two"))
    after = plan(FunctionStep(add, name="One |"), FunctionStep(double, name="Two"), FunctionStep(double, wells="row:A"))

    assert changes_markdown(before, after).splitlines() == [
        "**Wells: 2 stale, 1 unchanged.**",
        "",
        '- stale A01–A02 (2), because of step 3 "double": added (double)',
        '- step 1 "One \\|": renamed from "One \\*"',
    ]
    assert changes_markdown(before, {"A01": before["A01"]}).startswith("**Wells: 0 stale, 1 unchanged, 2 gone.**")


def test_a_plan_that_cannot_be_read_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A version before kept it otherwise, or another IO manager does: the new plan counts."""
    manager, key = VfsIOManager(backend="disk", root=str(tmp_path)), PlateKeys("P1").contexts
    after = plan(FunctionStep(add))

    def told(keeper: object) -> str:
        with dg.instance_for_test() as instance:
            return change_since_last(instance, keeper, key, after).summary

    assert told(manager) == FIRST_PLAN
    manager.handle_output(dg.build_output_context(asset_key=key), after)
    next(tmp_path.rglob("compiled_contexts.plan.json.gz")).write_text("{}")
    assert told(manager).startswith("The plan before cannot be compared: ")
    assert told(object()) == "The plan before is kept where it cannot be compared."


@pytest.mark.parametrize("backend", ["memory", "disk"])
def test_what_was_stored_last_is_found_or_not_there(backend: str, tmp_path: Path) -> None:
    """Of an asset without partitions; a backend in memory knows nothing of earlier runs."""
    manager, key = VfsIOManager(backend=backend, root=str(tmp_path)), dg.AssetKey(["P1", "compiled_contexts"])

    assert manager.stored(key) is None

    manager.handle_output(dg.build_output_context(asset_key=key), plan(FunctionStep(add)))
    assert manager.stored(key) == plan(FunctionStep(add))
