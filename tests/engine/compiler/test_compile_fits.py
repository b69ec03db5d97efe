"""Plate steps at compile: the sample is chosen and frozen, and everything that can be refused is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from openhcs_engine import FunctionStep, Pipeline, PlateStep, Sample, VariableComponents
from openhcs_engine.compiler import compile_plate, pipeline_digest
from openhcs_engine.compiler.compile import Compilation
from openhcs_engine.errors import CompilationError, ContextFileError
from openhcs_engine.memory import numpy, special_outputs
from openhcs_engine.model.components import GroupBy
from openhcs_engine.model.plate_map import PlateMap, WellRole
from openhcs_engine.pipeline.settings import configured
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.diff import compare_plans
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json
from tests.engine import fit_functions as fits
from tests.engine.lazy_functions import brightest
from tests.engine.plates import add, make_plate, output_plan

WELLS = [f"{row}{column:02d}" for row in "ABCD" for column in range(1, 7)]
FIELD = PlateStep(fits.mean_image, name="field", sample=Sample(images=12))
SUBTRACT = FunctionStep(fits.subtract_field)


def compilation(*steps: Any, wells: Any = None, **changes: Any) -> Compilation:
    """Steps on a plate of 24 wells, two sites, two channels and three z planes, without files."""
    plate, index = make_plate(WELLS)
    return compile_plate(replace(plate, **changes), index, Pipeline(steps), output=output_plan(), well_filter=wells)


def compiled(*steps: Any, wells: Any = None, **changes: Any) -> dict[str, ProcessingContext]:
    return compilation(*steps, wells=wells, **changes).contexts


def refusals(*steps: Any, **changes: Any) -> list[str]:
    """What is wrong, as sentences."""
    with pytest.raises(CompilationError) as refused:
        compiled(*steps, **changes)
    return [violation.message for violation in refused.value.violations]


def keys(context: ProcessingContext) -> list[Any]:
    return [plane.key for plane in context.fits[0].planes]


# The sample.


def test_the_sample_is_spread_over_the_wells_and_of_the_same_places_in_each_channel() -> None:
    """Twelve of 24 wells are asked for: twelve different ones; fifty of them: each well twice or more, both sites."""
    planned = keys(compiled(FIELD, SUBTRACT)["A01"])
    one, two = ([key for key in planned if key.channel == channel] for channel in (1, 2))
    assert len(one) == len({key.well for key in one}) == 12
    assert [key.replace(channel=1) for key in two] == one
    many = PlateStep(fits.mean_image, name="field", sample=Sample(images=50))
    first = [key for key in keys(compiled(many, SUBTRACT)["A01"]) if key.channel == 1]
    counts = {well: [key.site for key in first if key.well == well] for well in WELLS}
    assert all(2 <= len(sites) <= 3 and {*sites} == {1, 2} for sites in counts.values())


def test_the_sample_depends_on_plate_and_seed_and_not_on_the_wells_that_are_run() -> None:
    """Compiled twice, and for one well, it is the same; another seed gives another."""
    all_wells, one_well = compiled(FIELD, SUBTRACT), compiled(FIELD, SUBTRACT, wells="D06")
    assert keys(all_wells["A01"]) == keys(one_well["D06"])
    assert all_wells["D06"].fingerprint == one_well["D06"].fingerprint
    other = PlateStep(fits.mean_image, name="field", sample=Sample(images=12, seed=1))
    assert keys(compiled(other, SUBTRACT)["A01"]) != keys(all_wells["A01"])


def test_a_sample_may_be_of_some_sites_channels_and_wells() -> None:
    """Wells by a filter, or by their role on the plate map."""
    some = PlateStep(
        fits.mean_image, name="field", sample=Sample(images=9, sites=2, channels="GFP", wells="row:B,row:C")
    )
    step = FunctionStep({"GFP": fits.subtract_field}, uncovered="pass")
    found = keys(compiled(some, step)["A01"])
    assert len(found) == 9 and {(key.site, key.channel) for key in found} == {(2, 2)}
    assert {key.well[0] for key in found} == {"B", "C"}
    roles = tuple(WellRole.NEGATIVE if well.endswith("06") else WellRole.SAMPLE for well in WELLS)
    plate_map = PlateMap(name="map.csv", wells=tuple(WELLS), conditions=(), roles=roles, cells=("",) * len(WELLS))
    controls = PlateStep(fits.mean_image, name="field", sample=Sample(images=8, wells="role:negative"))
    assert {key.well for key in keys(compiled(controls, SUBTRACT, plate_map=plate_map)["A01"])} == {
        "A06", "B06", "C06", "D06",
    }  # fmt: skip
    assert "are not known of this plate: it has no plate map" in refusals(controls, SUBTRACT)[0]


def test_the_plan_says_what_is_fitted_and_reads_back_equal() -> None:
    """The document holds function and images; what was changed in it is refused."""
    contexts = compiled(FIELD, SUBTRACT)
    document = contexts_to_json(contexts)
    assert contexts_from_json(document) == contexts
    assert {c.fingerprint for c in contexts_from_json(document).values()} == {c.fingerprint for c in contexts.values()}
    path = str(contexts["A01"].fits[0].planes.planes[0].path)
    at = document.index(b'"fits"')
    changed = document[:at] + document[at:].replace(path.encode(), path.encode()[:-5] + b"9.tif", 1)
    with pytest.raises(ContextFileError, match="'field' of the plan document does not match its fingerprint"):
        contexts_from_json(changed)


def test_a_pipeline_without_plate_steps_writes_the_document_of_before() -> None:
    """No field for fits is in it."""
    document = contexts_to_json(compiled(FunctionStep(add)))
    assert b'"fits"' not in document


def test_the_pipelines_digest_covers_plate_steps() -> None:
    """Contexts of another fit cannot slip in."""
    plate, _ = make_plate(WELLS)
    digests = {
        pipeline_digest(plate, Pipeline([step, SUBTRACT]))
        for step in (FIELD, PlateStep((fits.mean_image, {"scale": 2}), name="field", sample=Sample(images=12)))
    }
    assert len(digests) == 2 and compiled(FIELD, SUBTRACT)["A01"].pipeline_digest in digests


def test_settings_reach_the_parameters_of_fits() -> None:
    """``--set mean_image.scale=2``."""
    (step, _) = configured(Pipeline([FIELD, SUBTRACT]), {"mean_image.scale": "2"})
    assert isinstance(step, PlateStep) and step.fit == (fits.mean_image, {"scale": 2.0})


def test_the_difference_of_plans_names_the_fit_and_the_wells_that_use_it() -> None:
    """Parameters, samples, and fits that came or went."""
    some = FunctionStep(fits.subtract_field, wells="row:A")
    before = compiled(FIELD, some, FunctionStep(add))
    for step, words in (
        (PlateStep((fits.mean_image, {"scale": 2}), name="field", sample=Sample(images=12)), "scale"),
        (PlateStep(fits.mean_image, name="field", sample=Sample(images=13)), "images asked for: 12 → 13"),
        (PlateStep(fits.mean_image, name="field", sample=Sample(images=12, seed=3)), "new in its sample"),
    ):
        diff = compare_plans(before, compiled(step, some, FunctionStep(add)))
        assert set(diff.stale_wells) == {well for well in WELLS if well[0] == "A"}
        assert any(each.where == 'plate step "field"' and words in each.what for each in diff.changes), diff.changes


def test_notes_name_small_samples_and_fits_that_nobody_takes() -> None:
    """Neither is refused."""
    notes = compilation(PlateStep(fits.mean_image, name="field", sample=Sample(images=1000)), FunctionStep(add)).notes
    assert any("'field' is fitted on 144 images instead of 1000" in note for note in notes)
    assert any("'field' is fitted, but no function takes it" in note for note in notes)
    off = PlateStep(fits.mean_image, name="field", enabled=False)
    assert any(
        "Step 'field' (item 1 of the pipeline) is disabled" in note
        for note in compilation(off, FunctionStep(add)).notes
    )


# What is refused.


@numpy
@special_outputs("cells")
def makes_more(images: Any) -> Any:
    """Returns too much."""
    return images[0], None


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([FunctionStep(add, name="Add"), FIELD, SUBTRACT], "but step 'Add', which changes them, stands before it"),
        ([FIELD], "The pipeline has plate steps alone, which change no image"),
        ([FIELD, FIELD, SUBTRACT], "two plate steps are called 'field' and 'field'"),
        (
            [PlateStep(brightest, name="field"), SUBTRACT],
            "finds the coordinates in its images and is given these one by one anyway",
        ),
        ([PlateStep(fits.mean_image, name="verdict"), FunctionStep(add)], "'verdict' is the name of something else"),
        (
            [PlateStep(fits.mean_image, name="Plate_Report"), FunctionStep(add)],
            "'Plate_Report' is the name of something",
        ),
        ([PlateStep(fits.mean_image, name="pixel_size"), FunctionStep(add)], "'pixel_size' is the name of something"),
        ([PlateStep(fits.mean_image, name="my field"), FunctionStep(add)], "'my field' cannot name side data"),
        ([PlateStep([fits.mean_image, fits.fails], name="field"), SUBTRACT], "must be one function"),
        ([PlateStep({"DAPI": fits.mean_image}, name="field"), SUBTRACT], "must be one function"),
        ([PlateStep((fits.mean_image, {"degree": 2}), name="field"), SUBTRACT], "has no parameter 'degree'"),
        ([PlateStep(makes_more, name="field"), SUBTRACT], "returns its result alone"),
        ([PlateStep(fits.subtract_field, name="other"), FunctionStep(add)], "takes 'field', which the plate does not"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(images=0)), SUBTRACT], "images=0 of the sample"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(images=4)), SUBTRACT], "fewer than its minimum=8"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(channels="Cy5")), SUBTRACT], "(has: DAPI, GFP)"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(sites=9)), SUBTRACT], "site 9 of the sample"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(wells="Z99")), SUBTRACT], "Z99"),
        ([PlateStep(fits.mean_image, name="field", sample=Sample(wells="A01")), SUBTRACT], "has 6 images, and a fit"),
        ([SUBTRACT], "takes 'field', which no step before it makes"),
        (
            [FIELD, FunctionStep(fits.subtract_field, variable_components=[VariableComponents.CHANNEL])],
            "is fitted for each channel, but its stacks are of several channels",
        ),
        (
            [PlateStep(fits.mean_image, name="field", sample=Sample(channels="DAPI")), SUBTRACT],
            "is not fitted for channel GFP",
        ),
        ([FIELD, "no step"], "Item 2 of the pipeline is a str"),
    ],
)
def test_what_a_plate_step_cannot_be_is_refused_at_compile(steps: list[Any], sentence: str) -> None:
    """With a sentence that names what is wrong; nothing was read."""
    assert any(sentence in message for message in refusals(*steps)), refusals(*steps)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Of plate steps and of the others."""
    messages = refusals(
        PlateStep(fits.mean_image, name="field", sample=Sample(sites=9, channels="Cy5")),
        FunctionStep(add, group_by=GroupBy.WELL),
        SUBTRACT,
    )
    assert len(messages) == 3  # who takes what is refused is not refused for it
