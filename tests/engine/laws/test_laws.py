"""The laws of fingerprints: what an update of the product makes stale, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata

import pytest

from openhcs_engine import FunctionStep, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import ContextFormatError
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize
from openhcs_engine.laws import now, one
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.output.current import EarlierWells
from openhcs_engine.output.manifest import WellManifest, manifest_from_json, manifest_to_json
from openhcs_engine.output.provenance import provenance_of
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.plan.diff import compare_plans
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from openhcs_engine.uses.packages import package_version
from tests.engine.plates import add, make_plate, output_plan

NORMALISE = "openhcs_engine.functions.normalize:stack_percentile_normalize"
Plan = dict[str, ProcessingContext]


def plan(*functions: object) -> Plan:
    """The small plate with these functions."""
    plate, index = make_plate()
    steps = [FunctionStep(function, variable_components=[VariableComponents.Z_INDEX]) for function in functions]
    return compile_plate(plate, index, steps, output=output_plan()).contexts


@pytest.fixture
def _versions() -> Iterator[None]:
    """Versions are asked for again."""
    package_version.cache_clear()
    yield
    package_version.cache_clear()


@pytest.mark.usefixtures("_versions")
def test_another_version_of_the_product_makes_no_well_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in the plan, for people; another version of any other package does make wells stale."""
    before = plan(stack_percentile_normalize, add)
    ask = metadata.version
    for name, stale in (("openhcs-dagster", 0), ("tifffile", 3)):
        monkeypatch.setattr(metadata, "version", lambda asked, name=name: "99.0" if asked == name else ask(asked))
        package_version.cache_clear()

        after = plan(stack_percentile_normalize, add)

        assert f"{name}==99.0" in after["A01"].versions
        assert len(compare_plans(before, after).stale_wells) == stale


def test_only_wells_that_use_a_function_of_ours_whose_results_changed_go_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the comparison of plans says so; the source of such a function changes nothing."""
    before, others = plan(stack_percentile_normalize), plan(create_max_projection)
    monkeypatch.setattr(now, "REVISIONS", {NORMALISE: 1})

    diff = compare_plans(before, plan(stack_percentile_normalize))

    assert len(diff.stale_wells) == 3 and "gives other results since an update" in diff.summary
    assert plan_fingerprint(plan(create_max_projection).values()) == plan_fingerprint(others.values())
    assert contexts_from_json(contexts_to_json(before)) == before


def test_a_function_of_the_labs_own_that_calls_one_whose_results_changed_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stands in what the function uses."""
    before = plan(calls_ours)
    monkeypatch.setattr(now, "REVISIONS", {NORMALISE: 1})

    after = plan(calls_ours)

    assert len(compare_plans(before, after).stale_wells) == 3
    assert after["A01"].calls[0].uses[NORMALISE] == "revision 1"


def calls_ours(stack):  # type: ignore[no-untyped-def] # as a lab writes it
    """Calls a function of the product."""
    return stack_percentile_normalize(stack)


def test_the_source_of_a_function_of_ours_is_no_part_of_fingerprints() -> None:
    """A tidied function gives the same results."""
    context = plan(stack_percentile_normalize)["A01"]
    (step,) = context.steps
    (route,) = step.routes
    calls = tuple(replace(call, source_sha256="other", version="openhcs-dagster==9") for call in route.calls)

    other = replace(context, steps=(replace(step, routes=(replace(route, calls=calls),)),))

    assert other.fingerprint == context.fingerprint


def test_a_field_that_a_later_version_adds_changes_no_fingerprint_where_it_is_not_used() -> None:
    """Fields with their defaults are not told."""
    context = plan(add)["A01"]
    (step,) = context.steps

    assert "uncovered" not in json.dumps(now.worded(replace(step, routes=())), default=str)
    assert "uncovered" in json.dumps(now.worded(replace(step, routes=(), uncovered="pass")), default=str)


def test_the_law_stands_in_plans_and_manifests_and_is_the_first_where_it_does_not() -> None:
    """So what earlier versions left keeps its fingerprints; a later law is refused with a sentence."""
    contexts = plan(add)
    document = json.loads(contexts_to_json(contexts))
    assert document["law"] == now.LAW == contexts["A01"].law
    with pytest.raises(ContextFormatError, match=f"law {now.LAW + 1} of fingerprints"):
        contexts_from_json(json.dumps(document | {"law": now.LAW + 1}).encode())

    manifest = json.loads(manifest_to_json(published(contexts["A01"])))
    assert manifest.pop("law") == now.LAW
    assert manifest_from_json(json.dumps(manifest).encode(), "A01.json").law == one.LAW


def test_a_plan_of_the_first_law_is_read_and_written_with_its_fingerprints() -> None:
    """Its functions are told as the first law told them."""
    contexts = {well: by_law_one(context) for well, context in plan(add).items()}

    again = contexts_from_json(contexts_to_json(contexts))

    assert {well: context.fingerprint for well, context in again.items()} == {
        well: context.fingerprint for well, context in contexts.items()
    }
    assert {context.law for context in again.values()} == {one.LAW}


def test_a_step_that_the_first_law_had_no_word_for_was_not_made_before() -> None:
    """Its word is a field that plans did not have then."""
    context = plan(add)["A01"]
    manifest = published(by_law_one(context))
    assert EarlierWells().has(context, manifest)
    assert not EarlierWells().has(context, replace(manifest, law=now.LAW))

    unknown = replace(context.steps[0].routes[0].calls[0], revision=1)
    route = replace(context.steps[0].routes[0], calls=(unknown,))
    later = replace(context, steps=(replace(context.steps[0], routes=(route,)),))

    assert not EarlierWells().has(later, manifest)


def by_law_one(context: ProcessingContext) -> ProcessingContext:
    """A context as the first law would have made it."""
    steps = tuple(
        replace(
            step,
            routes=tuple(
                replace(
                    route,
                    calls=tuple(
                        replace(
                            call,
                            source_sha256=call.source_by_law_1,
                            source_by_law_1="",
                            uses=FrozenMap(),
                            unfollowed=(),
                        )
                        for call in route.calls
                    ),
                )
                for route in step.routes
            ),
        )
        for step in context.steps
    )
    made = [replace(step, reads="", writes="") for step in steps]
    return replace(context, steps=steps, law=one.LAW, pipeline_digest=one.steps_digest(made))


def published(context: ProcessingContext) -> WellManifest:
    """The manifest of a well that the context made."""
    return WellManifest(
        well=context.well,
        fingerprint=context.fingerprint,
        law=context.law,
        backend="zarr",
        finished="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        device="cpu",
        files=(),
        provenance=FrozenMap.of(provenance_of(context, {})),
    )
