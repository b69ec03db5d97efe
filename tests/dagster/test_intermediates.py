"""Where planes wait between steps, in a plate's asset graph."""

from __future__ import annotations

from openhcs_dagster.plate.compilation import compile_entry
from openhcs_engine.microscopes.plate_listing import read_listing
from openhcs_engine.output.manifest import read_manifest
from openhcs_engine.plan.context import plan_fingerprint
from openhcs_engine.plan.run_options import RunOptions
from tests.dagster.deployments import Deployment

STORAGE = """
from openhcs_engine.vfs.disk import DiskBackend

class Compressed(DiskBackend):
    def __init__(self, place):
        super().__init__(place, compression="zlib")
"""


def test_a_backend_beside_the_pipeline_holds_the_planes(deployment: Deployment) -> None:
    """It is found where the pipeline is, in worker processes, too; the scratch folder is empty in the end."""
    plate, pipeline = deployment.plate(columns=1), deployment.pipeline("places_pipeline")
    (deployment.root / "lab" / "places_storage.py").write_text(STORAGE)
    scratch = deployment.root / "fast"
    options = RunOptions(
        runner="processes", workers=1, intermediates="places_storage:Compressed", scratch=str(scratch)
    )  # fmt: skip
    entry = deployment.add(plate, pipeline, options=options)

    run = deployment.run(entry)

    assert (run.refusal, run.failed) == (None, ())
    manifest = read_manifest(deployment.root / "out" / "P001" / "wells" / "A01.json")
    assert manifest is not None
    assert manifest.provenance["intermediates"] == f"places_storage:Compressed, in {scratch}/openhcs-scratch"
    assert list(scratch.iterdir()) == []


def test_the_plan_names_the_place_and_has_the_same_version(deployment: Deployment) -> None:
    """Another place makes no well stale."""
    plate, pipeline = deployment.plate(columns=1), deployment.pipeline("places_two_steps", text=TWO_STEPS)
    versions = set()
    for number, place in enumerate(("memory", "disk")):
        entry = deployment.add(plate, pipeline, f"P{number}", RunOptions(intermediates=place))
        contexts = compile_entry(entry, read_listing(entry.folder, "P1", entry.reading)).contexts
        assert {context.steps[0].writes for context in contexts.values()} == {place}
        versions.add(plan_fingerprint(contexts.values()))

    assert len(versions) == 1


TWO_STEPS = """
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.functions import create_max_projection, stack_percentile_normalize

pipeline = Pipeline([FunctionStep(stack_percentile_normalize), FunctionStep(create_max_projection)])
"""
