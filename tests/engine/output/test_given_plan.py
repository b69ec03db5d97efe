"""Plans that a person names: files, output folders, and outputs behind URLs."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_engine import FunctionStep, PipelineOrchestrator
from openhcs_engine.cli.diff import compare_given, comparison_document
from openhcs_engine.errors import ContextFileError, NotAnOutputError
from openhcs_engine.output.named_plan import published_with, read_given_plan
from openhcs_engine.output.opening import files_of
from openhcs_engine.output.plans import image_sets_of_plans, plan_documents, plans_in
from openhcs_engine.output.timings import measured_for
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, contexts_to_json, packed
from openhcs_engine.plan.facts import facts_of_plan
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress
from tests.engine.plan.test_plan_document import FORMAT_2
from tests.engine.plates import add


@dataclass(frozen=True)
class Ran:
    """A plate's output after a run of one well, and the plan of both."""

    address: str
    contexts: dict[str, ProcessingContext]
    ran: dict[str, ProcessingContext]


@pytest.fixture(params=["folder", "url"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Ran:
    """Of the plate P, in a folder or in an object store."""
    spec = SyntheticPlate(name="P", rows=1, columns=2, sites=1, z=1, shape=(32, 32), channels=("DAPI",))
    root = str(tmp_path / "out") if request.param == "folder" else f"memory://plans/{uuid.uuid4().hex}"
    orchestrator = PipelineOrchestrator(
        write_imagexpress(tmp_path / "P", spec), output=root, runner="threads"
    ).initialize()
    pipeline = [FunctionStep(add)]
    ran = orchestrator.compile_pipelines(pipeline, well_filter="A01")
    assert all(result.success for result in orchestrator.execute_compiled_plate(pipeline, ran, 1).values())
    return Ran(f"{root}/P", orchestrator.compile_pipelines(pipeline), ran)


def test_an_output_gives_the_plan_that_it_kept_last(output: Ran) -> None:
    """As it was run; and the wells that stand there as another plan would make them."""
    given = read_given_plan(output.address)

    assert given.contexts == output.ran and given.output == output.address and given.notes == ()
    assert given.source.startswith(f"{output.address}/contexts/")
    assert published_with(output.address, output.contexts) == ("A01",)


def test_a_file_is_compared_with_an_output(output: Ran, tmp_path: Path) -> None:
    """In either order; the wells are looked for in the output that was named."""
    plain, compressed = tmp_path / "plan.json", tmp_path / "plan.json.gz"
    plain.write_bytes(contexts_to_json(output.contexts))
    compressed.write_bytes(packed(plain.read_bytes()))

    for file in (str(plain), str(compressed)):
        for compared in (compare_given(file, output.address), compare_given(output.address, file)):
            assert compared.output == output.address and compared.published == ("A01",)
            assert comparison_document(compared)["wells"]["unchanged"] == ("A01",)
        assert read_given_plan(file).output is None


@pytest.mark.parametrize("format_", [2, 3])
def test_plans_of_earlier_versions_stand_beside_todays(tmp_path: Path, output: Ran, format_: int) -> None:
    """Not compressed, of today's format or of the one before: the newest counts, and wells of the others are named."""
    files = files_of(output.address)
    (path,) = plan_documents(files.by_path())
    earlier = FORMAT_2.read_bytes() if format_ == 2 else contexts_to_json(output.contexts)
    folder = tmp_path / "P"
    (folder / "contexts").mkdir()
    for name, content, second in (("old.json", earlier, 1), (Path(path).name, files.read(path), 2)):
        (folder / "contexts" / name).write_bytes(content)
        os.utime(folder / "contexts" / name, (second, second))

    given = read_given_plan(str(folder))

    assert given.contexts == output.ran and "older plans beside it have A02" in given.notes[0]
    os.utime(folder / "contexts" / "old.json", (3, 3))
    assert list(read_given_plan(str(folder)).contexts) == list(contexts_from_json(earlier))
    assert image_sets_of_plans(plans_in(folder)) == frozenset()


def test_only_folders_tell_how_long_wells_took(output: Ran) -> None:
    """An object store would have to be listed as a whole; why there is no number is said."""
    time = facts_of_plan(output.contexts, measured_for(output.contexts)).time

    if output.address.startswith("memory://"):
        assert time.seconds is None and "is a URL, where earlier runs are not looked up" in time.told
    else:
        assert time.seconds is not None and time.wells == 1


def test_a_plan_of_no_well_is_none(tmp_path: Path) -> None:
    """And neither is a folder without plans, or an empty place in an object store."""
    with pytest.raises(NotAnOutputError, match="holds no plan"):
        read_given_plan(str(tmp_path))
    with pytest.raises(NotAnOutputError, match="holds no plan"):
        read_given_plan(f"memory://plans/{uuid.uuid4().hex}")
    with pytest.raises(ContextFileError, match="there is no such file"):
        read_given_plan(str(tmp_path / "plan.json"))
