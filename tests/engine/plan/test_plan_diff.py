"""What changed between two plans, and which wells go stale by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openhcs_engine import FunctionStep, GroupBy, Materialize, PlateStep, Sample, VariableComponents
from openhcs_engine.compiler import compile_plate
from openhcs_engine.functions import create_composite, create_max_projection
from openhcs_engine.model.image_index import ImageIndex, ImagePlane, OnMissing
from openhcs_engine.model.plate import Channel
from openhcs_engine.model.plate_map import Condition, PlateMap, WellRole
from openhcs_engine.plan.context import FunctionCall, ProcessingContext, StepPlan
from openhcs_engine.plan.diff import ChangeKind, PlanDiff, compare_plans
from tests.engine import fit_functions as fits
from tests.engine.plates import add, double, first_plane, make_plate, output_plan
from tests.engine.side_functions import apply_model, fit

Plan = Mapping[str, ProcessingContext]
Z = VariableComponents.Z_INDEX
WELLS = ("A01", "A02", "B01", "B02")
ALL = frozenset(WELLS)
ADD = FunctionStep((add, {"amount": 1}), name="Add")
KEYED = FunctionStep({"DAPI": (add, {"amount": 2}), "GFP": double}, name="Keyed", group_by=GroupBy.CHANNEL)
USE = FunctionStep(fits.subtract_field, name="Use")
LAST = FunctionStep(create_max_projection, name="Project", variable_components=[Z])


def plan(
    *steps: FunctionStep | PlateStep, wells: tuple[str, ...] = WELLS, **options: Any
) -> dict[str, ProcessingContext]:
    """The small plate's plan; by default with three steps."""
    plate, index = make_plate(wells)
    declared = steps or (ADD, KEYED, LAST)
    return compile_plate(plate, index, declared, output=output_plan(), **options).contexts


def every(change: Callable[[ProcessingContext], ProcessingContext], *wells: str) -> Plan:
    """The plan with something else in every context, or in those of some wells."""
    return {well: change(context) if not wells or well in wells else context for well, context in plan().items()}


def with_call(position: int = 0, **changes: Any) -> Plan:
    """The plan with another call in one of its steps."""

    def changed(context: ProcessingContext) -> ProcessingContext:
        steps = list(context.steps)
        step = steps[position]
        route = step.routes[0]
        calls = (replace(route.calls[0], **changes), *route.calls[1:])
        steps[position] = replace(step, routes=(replace(route, calls=calls), *step.routes[1:]))
        return replace(context, steps=tuple(steps))

    return every(changed)


def with_step(position: int, **changes: Any) -> Plan:
    """The plan with another field in one of its steps."""

    def changed(context: ProcessingContext) -> ProcessingContext:
        steps = list(context.steps)
        steps[position] = replace(steps[position], **changes)
        return replace(context, steps=tuple(steps))

    return every(changed)


def with_planes(change: Callable[[tuple[ImagePlane, ...]], tuple[ImagePlane, ...]], *wells: str) -> Plan:
    """The plan with other planes in some wells."""
    return every(lambda context: replace(context, index=ImageIndex(change(context.index.planes))), *wells)


def with_plate(**changes: Any) -> Plan:
    """The plan of a plate that is told otherwise."""
    return every(lambda context: replace(context, plate=replace(context.plate, **changes)))


def with_output(**changes: Any) -> Plan:
    """The plan with other results."""
    return every(lambda context: replace(context, output=replace(context.output, **changes)))


def planes_with(**changes: Any) -> Callable[[tuple[ImagePlane, ...]], tuple[ImagePlane, ...]]:
    """The first two planes with other fields."""
    return lambda planes: (*(plane.replace(**changes) for plane in planes[:2]), *planes[2:])


def _moved(name: str) -> FunctionStep:
    return FunctionStep((add, {"amount": 1}), name=name)


def _field(images: int) -> PlateStep:
    return PlateStep(fits.mean_image, name="field", sample=Sample(images=images))


def _map() -> PlateMap:
    return PlateMap(
        name="map.csv",
        wells=("A01",),
        conditions=(Condition(name="compound", values=("DMSO",)),),
        roles=(WellRole.NEGATIVE,),
        cells=("A2",),
    )


@dataclass(frozen=True)
class Case:
    """A second plan, and what must be said of it."""

    name: str
    after: Callable[[], Plan]
    kind: ChangeKind
    told: str
    stale: frozenset[str] = ALL
    before: Callable[[], Plan] = plan


K = ChangeKind
SHA = "0" * 64
CASES = [
    Case("a parameter", lambda: plan(FunctionStep((add, {"amount": 5}), name="Add"), KEYED, LAST), K.PARAMETER,
         'step 1 "Add": add: amount 1 → 5'),
    Case("a parameter's type", lambda: plan(FunctionStep((add, {"amount": 1.0}), name="Add"), KEYED, LAST),
         K.PARAMETER, 'step 1 "Add": add: amount 1 → 1.0'),
    Case("a parameter left out", lambda: plan(FunctionStep(add, name="Add"), KEYED, LAST), K.PARAMETER,
         'step 1 "Add": add(amount=1) → amount is left out'),
    Case("a parameter given", lambda: plan(), K.PARAMETER, 'step 1 "Add": add: amount was left out → amount=1',
         before=lambda: plan(FunctionStep(add, name="Add"), KEYED, LAST)),
    Case("a key's parameter", lambda: plan(ADD, FunctionStep({"DAPI": (add, {"amount": 7}), "GFP": double},
         name="Keyed", group_by=GroupBy.CHANNEL), LAST), K.PARAMETER, 'step 2 "Keyed": DAPI: add: amount 2 → 7'),
    Case("a step added", lambda: plan(ADD, FunctionStep(double, name="Twice"), KEYED, LAST), K.STEP_ADDED,
         'step 2 "Twice": added (double)'),
    Case("a step added for some wells", lambda: plan(ADD, KEYED, LAST, FunctionStep(double, name="Twice",
         wells="row:B")), K.STEP_ADDED, 'step 4 "Twice": added (double)', frozenset({"B01", "B02"})),
    Case("a step removed", lambda: plan(ADD, LAST), K.STEP_REMOVED, 'step 2 "Keyed": removed (add; double)'),
    Case("a fit's sample", lambda: plan(_field(10), USE), K.FIT, 'plate step "field": images asked for: 9 → 10',
         before=lambda: plan(_field(9), USE)),
    Case("a step moved", lambda: plan(KEYED, ADD, LAST), K.STEP_MOVED, "moved from place"),
    Case("a step renamed", lambda: plan(_moved("Brighten"), KEYED, LAST), K.STEP_RENAMED,
         'step 1 "Brighten": renamed from "Add"', frozenset()),
    Case("a step renamed that names a channel", lambda: plan(FunctionStep(create_composite, name="RGB",
         variable_components=[VariableComponents.CHANNEL])), K.STEP_RENAMED,
         'step 1 "RGB": renamed from "Mix", which the output\'s channel is called after',
         before=lambda: plan(FunctionStep(create_composite, name="Mix",
                                          variable_components=[VariableComponents.CHANNEL]))),
    Case("renamed, and another parameter", lambda: plan(FunctionStep((add, {"amount": 3}), name="Up"), KEYED, LAST),
         K.PARAMETER, 'step 1 "Up": add: amount 1 → 3'),
    Case("another function", lambda: plan(FunctionStep(double, name="Add"), KEYED, LAST), K.FUNCTION,
         'step 1 "Add": function add → double'),
    Case("one function more", lambda: plan(FunctionStep([(add, {"amount": 1}), double], name="Add"), KEYED, LAST),
         K.FUNCTION, 'step 1 "Add": double is called, too'),
    Case("one function less", lambda: plan(), K.FUNCTION, 'step 1 "Add": double is called no more',
         before=lambda: plan(FunctionStep([(add, {"amount": 1}), double], name="Add"), KEYED, LAST)),
    Case("a source", lambda: with_call(source_sha256=SHA), K.SOURCE, "the source of add changed ("),
    Case("a function's package", lambda: with_call(version="lab==2"), K.VERSION, "add comes from none → lab==2"),
    Case("a module", lambda: with_call(reference="lab.bright:add"), K.MODULE,
         "add is tests.engine.plates:add → lab.bright:add"),
    Case("what it takes", lambda: with_call(input_type="torch"), K.MEMORY_TYPE, "add takes numpy → torch"),
    Case("what it returns", lambda: with_call(output_type="cupy"), K.MEMORY_TYPE, "add returns numpy → cupy"),
    Case("a pixel type", lambda: with_call(dtype="float32"), K.DTYPE, "add pixel type preserve → float32"),
    Case("a promise", lambda: with_call(slice_by_slice=True), K.CONTRACT, "add slice by slice: False → True"),
    Case("a twin on the CPU", lambda: with_call(cpu_twin=FunctionCall(reference="lab:slow", source_sha256=SHA,
         version="")), K.FUNCTION, "on the CPU stands in for add: none → lab:slow"),
    Case("side outputs", lambda: plan(FunctionStep(fit, name="Fit"), LAST), K.SIDE_DATA,
         'step 1 "Fit": fit makes nothing → model (object)',
         before=lambda: {well: replace(context, steps=(_without_sides(context.steps[0]), *context.steps[1:]))
                         for well, context in plan(FunctionStep(fit, name="Fit"), LAST).items()}),
    Case("axes", lambda: plan(FunctionStep((add, {"amount": 1}), name="Add", variable_components=[Z]), KEYED, LAST),
         K.AXES, 'step 1 "Add": stacks along site → z_index'),
    Case("group_by", lambda: plan(ADD, FunctionStep({1: (add, {"amount": 2}), 2: double}, name="Keyed",
         group_by=GroupBy.SITE, variable_components=[Z]), LAST), K.GROUP_BY,
         'step 2 "Keyed": grouped by channel → site'),
    Case("keys", lambda: plan(ADD, FunctionStep({"DAPI": (add, {"amount": 2})}, name="Keyed", uncovered="pass",
         group_by=GroupBy.CHANNEL), LAST), K.KEYS, 'step 2 "Keyed": GFP has no entry any more'),
    Case("uncovered", lambda: with_step(1, uncovered="drop"), K.UNCOVERED,
         'step 2 "Keyed": stacks without an entry: error → drop'),
    Case("where a step reads", lambda: plan(ADD, KEYED, FunctionStep(create_max_projection, name="Project",
         variable_components=[Z], input_source="start")), K.INPUT,
         'step 3 "Project": reads the step before → the plate'),
    Case("a well filter", lambda: plan(FunctionStep((add, {"amount": 1}), name="Add", wells="row:A"), KEYED, LAST),
         K.WELL_FILTER, 'step 1 "Add": wells all → A01–A02', frozenset({"B01", "B02"})),
    Case("kept planes", lambda: plan(FunctionStep((add, {"amount": 1}), name="Add",
         materialize=Materialize(wells="A02")), KEYED, LAST), K.KEPT_PLANES,
         'step 1 "Add": its planes are kept in none → checkpoints.zarr', frozenset({"A02"})),
    Case("a raw file more", lambda: with_planes(lambda planes: planes[1:], "A01", "A02"), K.RAW_GONE,
         "raw files: 2 files gone in 2 wells (TimePoint_1/ZStep_1/P1_A01_s1_w1.tif,", frozenset({"A01", "A02"})),
    Case("a raw file less", plan, K.RAW_ADDED, "raw files: 1 file added in 1 well (", frozenset({"B02"}),
         before=lambda: with_planes(lambda planes: planes[1:], "B02")),
    Case("raw files of other size", lambda: with_planes(planes_with(size=97, mtime_ns=5), "B01"), K.RAW_SIZE,
         "raw files: 2 files of another size in 1 well (", frozenset({"B01"})),
    Case("raw files written again", lambda: with_planes(planes_with(mtime_ns=5), "B01"), K.RAW_TIME,
         "raw files: 2 files written again (same size, other time) in 1 well (", frozenset({"B01"})),
    Case("a file that is declared and missing", lambda: with_planes(planes_with(present=False), "A01"), K.RAW_GONE,
         "raw files: 2 files gone in 1 well (", frozenset({"A01"})),
    Case("the same files, other planes", lambda: with_planes(lambda planes: planes[::-1], "A01"), K.PLANES,
         "raw files: the same files hold other planes", frozenset({"A01"})),
    Case("stage positions", lambda: every(lambda context: replace(context, stage_um=((1, 0.0, 5.0),)), "A02"),
         K.STAGE, "stage positions: other positions in 1 well", frozenset({"A02"})),
    Case("wells added", plan, K.WELLS_ADDED, "wells: 2 wells added (B01–B02)", frozenset(),
         before=lambda: {well: context for well, context in plan().items() if well < "B"}),
    Case("wells removed", lambda: {"A01": plan()["A01"]}, K.WELLS_REMOVED, "wells: 3 wells removed (A02, B01–B02)",
         frozenset()),
    Case("a channel's name", lambda: with_plate(channels=(Channel(index=1, name="Hoechst"), Channel(index=2,
         name="GFP"))), K.CHANNELS, "plate: channel 1: DAPI → Hoechst"),
    Case("a channel less", lambda: with_plate(channels=(Channel(index=1, name="DAPI"),)), K.CHANNELS,
         "plate: channel 2 (GFP) is gone"),
    Case("a channel more", plan, K.CHANNELS, "plate: channel 2 (GFP) is new",
         before=lambda: with_plate(channels=(Channel(index=1, name="DAPI"),))),
    Case("the pixel size", lambda: with_plate(pixel_size_um=0.65), K.PLATE, "plate: pixel size, µm: none → 0.65"),
    Case("the plate's folder", lambda: with_plate(root="/elsewhere"), K.PLATE, "plate: folder: /raw/plate → /elsewhere",
         frozenset()),
    Case("a plate map", lambda: with_plate(plate_map=_map()), K.PLATE, "plate: another plate map", frozenset()),
    Case("a package", lambda: every(lambda context: replace(context, versions=("numpy==9",))), K.VERSION,
         "packages: numpy "),
    Case("on_missing", lambda: plan(on_missing=OnMissing.BLANK), K.ON_MISSING,
         "on_missing: planes without a file: error → blank"),
    Case("devices", lambda: every(lambda context: replace(context, devices=("gpu:0", "cpu", "cpu"))), K.DEVICE,
         "devices: cpu → cpu, gpu:0", frozenset()),
    Case("the output's place", lambda: with_output(root="/other"), K.OUTPUT, "output: root: /results → /other",
         frozenset()),
    Case("the output's form", lambda: with_output(backend="disk"), K.OUTPUT, "output: backend: zarr → disk; what is "
         "published in the other form is made again in this one", frozenset()),
    Case("how images are stored", lambda: with_output(images=replace(output_plan().images, ngff="0.4")), K.OUTPUT,
         "output: images ngff: 0.5 → 0.4", frozenset()),
    Case("the pipeline's name", lambda: with_output(pipeline="Assay 2"), K.OUTPUT,
         "output: pipeline: none → Assay 2", frozenset()),
]  # fmt: skip


def _without_sides(step: StepPlan) -> StepPlan:
    route = step.routes[0]
    return replace(step, routes=(replace(route, calls=(replace(route.calls[0], side_outputs=()),)),))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_kind_of_change_is_told_with_the_wells_that_go_stale(case: Case) -> None:
    """What it is, where, from what to what; and exactly the wells whose results would be others."""
    found = compare_plans(case.before(), case.after())

    assert case.kind in {change.kind for change in found.changes}
    told = [change.summary for change in found.changes if change.kind is case.kind]
    assert any(case.told in line for line in told), told
    assert set(found.stale_wells) == case.stale
    assert_is_consistent(found, case.before(), case.after())


def assert_is_consistent(found: PlanDiff, before: Plan, after: Plan) -> None:
    """A well is stale exactly if its fingerprint differs, exactly if it has a reason."""
    both = [well for well in found.wells if well in before and well in after]
    differing = {well for well in both if before[well].fingerprint != after[well].fingerprint}
    assert set(found.stale_wells) == differing == {well for change in found.changes for well in change.wells}
    assert set(found.unchanged) == set(both) - differing
    assert all(group.reasons for group in found.stale)
    wells = [well for group in found.stale for well in group.wells]
    assert len(wells) == len(set(wells))


def test_every_kind_has_a_case_but_the_last_resort() -> None:
    """A kind that no plan can show would be a promise that nothing keeps."""
    assert set(ChangeKind) - {case.kind for case in CASES} == {ChangeKind.OTHER}


def test_equal_plans_say_so() -> None:
    """Compiled twice, they differ in nothing."""
    found = compare_plans(plan(), plan())

    assert found.equal and found.summary == "The plans are equal." and found.unchanged == WELLS


def test_a_step_for_some_wells_makes_no_other_well_stale() -> None:
    """The steps behind it have other numbers there, which say nothing of the pixels."""
    after = plan(FunctionStep(double, name="Twice", wells="row:A"), ADD, KEYED, LAST)

    found = compare_plans(plan(), after)

    reasons = {group.wells: [reason.kind for reason in group.reasons] for group in found.stale}
    assert reasons == {("A01", "A02"): [ChangeKind.STEP_ADDED]} and found.unchanged == ("B01", "B02")


def test_only_a_step_that_changed_its_place_has_moved() -> None:
    """Not those whose numbers follow from a step that came or went before them."""
    found = compare_plans(plan(), plan(KEYED, LAST))

    assert [change.kind for change in found.changes] == [ChangeKind.STEP_REMOVED]


@pytest.mark.parametrize(("order", "moved"), [("DABCE", "D"), ("BCDEA", "A"), ("AECDB", "BE"), ("ABCDE", "")])
def test_the_steps_that_kept_their_order_are_not_told_as_moved(order: str, moved: str) -> None:
    """One step that went to the front or the end moved, and not all those that it passed."""
    steps = {name: FunctionStep((add, {"amount": number}), name=name) for number, name in enumerate("ABCDE", start=1)}

    found = compare_plans(plan(*steps.values()), plan(*(steps[name] for name in order)))

    assert sorted(change.where[-2] for change in found.changes if change.kind is ChangeKind.STEP_MOVED) == [*moved]


def test_of_two_steps_of_one_name_the_equal_one_stays() -> None:
    """The second of two equally named steps is not told as the first with another parameter."""
    two = [FunctionStep((add, {"amount": 1})), FunctionStep((add, {"amount": 2}))]

    found = compare_plans(plan(*two), plan(two[1]))

    assert [change.summary for change in found.changes] == ['step 1 "add": removed (add)']


def test_side_inputs_are_told_as_others_only_if_another_step_makes_them() -> None:
    """A step that came before both moves their numbers and nothing else."""
    before = plan(FunctionStep(fit, name="Fit"), FunctionStep(apply_model, name="Apply"))
    after = plan(ADD, FunctionStep(fit, name="Fit"), FunctionStep(apply_model, name="Apply"))

    assert [change.kind for change in compare_plans(before, after).changes] == [ChangeKind.STEP_ADDED]


def test_wells_are_grouped_by_what_makes_them_stale() -> None:
    """Two changes make three groups: the one, the other, both."""
    after = {
        well: replace(context, index=ImageIndex(planes_with(size=7)(context.index.planes))) if well < "B" else context
        for well, context in plan(ADD, KEYED, LAST, FunctionStep(first_plane, name="One", wells="A02,B01")).items()
    }

    found = compare_plans(plan(), after)

    assert {group.wells: {reason.kind for reason in group.reasons} for group in found.stale} == {
        ("A01",): {ChangeKind.RAW_SIZE},
        ("A02",): {ChangeKind.RAW_SIZE, ChangeKind.STEP_ADDED},
        ("B01",): {ChangeKind.STEP_ADDED},
    }
    assert found.summary.startswith("3 wells stale, because of ")


STEPS = st.builds(
    lambda function, amount, name, wells, along: FunctionStep(
        (add, {"amount": amount}) if function is add else function,
        name=name,
        wells=wells,
        variable_components=[along],
        input_source="previous",
    ),
    st.sampled_from([add, double]),
    st.sampled_from([1, 1.0, 2]),
    st.sampled_from(["One", "Two", "Three"]),
    st.sampled_from([None, "row:A", "col:1", "B02"]),
    st.sampled_from([VariableComponents.SITE, VariableComponents.Z_INDEX, VariableComponents.CHANNEL]),
)
ALWAYS = FunctionStep(double, name="Always")


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=4), st.lists(STEPS, max_size=4))
def test_a_well_is_stale_exactly_if_a_change_touches_it(before: list[FunctionStep], after: list[FunctionStep]) -> None:
    """Whatever steps come, go, move, are renamed or are for other wells."""
    old, new = plan(*before, ALWAYS), plan(*after, ALWAYS)

    assert_is_consistent(compare_plans(old, new), old, new)
    assert compare_plans(old, old).equal and compare_plans(new, new).equal


def test_the_root_is_no_reason(tmp_path: Path) -> None:
    """The same plate mounted elsewhere, with results elsewhere, has no stale well."""
    moved = {
        well: replace(context, plate=replace(context.plate, root=str(tmp_path)), output=output_plan(tmp_path))
        for well, context in plan().items()
    }

    found = compare_plans(plan(), moved)

    assert not found.stale and found.summary == "No well goes stale." and len(found.changes) == 2
