"""What every runner of wells must do; subclass it and give it a runner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.results import WellResult
from openhcs_engine.execution.runners.contract import Runner, RunOrder
from openhcs_engine.execution.runners.well_watch import Patience
from openhcs_engine.functions import create_max_projection
from openhcs_engine.memory.stack import Array
from openhcs_engine.model.components import VariableComponents
from openhcs_engine.orchestrator import PipelineOrchestrator
from openhcs_engine.output.contract import PlateOutput
from openhcs_engine.output.opening import open_output
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.context import ProcessingContext, plan_fingerprint
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

Function = Callable[[Array], Array]


def pausing(stack: Array) -> Array:
    """The first plane, after a while."""
    time.sleep(0.3)
    return stack[:1]


def endless(stack: Array) -> Array:
    """The first plane, after longer than anybody waits."""
    time.sleep(120)
    return stack[:1]


@dataclass(frozen=True, slots=True)
class Work:
    """Wells of a synthetic plate, compiled, and the output into which they go."""

    contexts: Mapping[str, ProcessingContext]
    output: PlateOutput

    @classmethod
    def of(cls, folder: Path, function: Function = create_max_projection, wells: int = 3, damaged: str = "") -> Work:
        """One step on wells A01, A02 …; an image of the ``damaged`` well is cut short."""
        spec = SyntheticPlate(
            name="plate", rows=1, columns=wells, sites=1, channels=("DAPI",), z=2, shape=(32, 32), seed=1,
            truncated_wells=(damaged,) if damaged else (),
        )  # fmt: skip
        plate = write_imagexpress(folder / "plate", spec)
        orchestrator = PipelineOrchestrator(plate, output=folder / "results").initialize()
        step = FunctionStep(function, variable_components=[VariableComponents.Z_INDEX])
        contexts = orchestrator.compile_pipelines([step])
        output = open_output(next(iter(contexts.values())).output.address)
        output.prepare(orchestrator.plate)
        return cls(contexts, output)

    def order(
        self,
        staging: Path,
        workers: int = 1,
        patience: Patience = Patience(),  # noqa: B008 # it is frozen
        on_finished: Callable[[], object] = lambda: None,
    ) -> RunOrder:
        """All wells for so many workers."""
        return RunOrder(
            contexts=self.contexts,
            staging=staging,
            workers=[WorkerDevices(cpu=f"cpu:{number}") for number in range(workers)],
            functions=FunctionSource(),
            plan=plan_fingerprint(self.contexts.values()),
            patience=patience,
            on_finished=on_finished,
        )

    def run(self, runner: Runner, workers: int = 1, patience: Patience = Patience()) -> list[WellResult]:  # noqa: B008
        """The results in the order in which they came."""
        with self.output.staging("run") as staging:
            return [result for result, _ in runner.run(self.order(staging, workers, patience))]

    def images(self) -> dict[str, bytes]:
        """Content of the published images by their paths."""
        return {
            file.path: self.output.files.read(file.path)
            for well in self.output.wells()
            if (manifest := self.output.published(well)) is not None
            for file in manifest.files
        }


class RunnerContract:
    """Inherited by the test class of each runner."""

    @pytest.fixture
    def runner(self) -> Runner:
        """The runner."""
        raise AssertionError("a subclass gives the runner")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_every_well_comes_once_and_is_published(self, runner: Runner, workers: int, tmp_path: Path) -> None:
        """In any order; its result names the device of one of the workers."""
        work = Work.of(tmp_path)

        results = work.run(runner, workers)

        assert [result.error for result in results] == [None] * 3
        assert sorted(result.well for result in results) == sorted(work.contexts)
        assert {result.device for result in results} <= {f"cpu:{number}" for number in range(workers)}
        published = work.output.unchanged({well: context.fingerprint for well, context in work.contexts.items()})
        assert published.keys() == work.contexts.keys()

    def test_more_workers_change_no_byte(self, runner: Runner, tmp_path: Path) -> None:
        """Of the images."""
        one, two = Work.of(tmp_path / "one"), Work.of(tmp_path / "two")
        one.run(runner, 1)
        two.run(runner, 2)

        assert one.images() == two.images() and one.images()

    def test_more_workers_than_wells_do_no_harm(self, runner: Runner, tmp_path: Path) -> None:
        """Each well comes once."""
        assert [result.well for result in Work.of(tmp_path, wells=1).run(runner, 3)] == ["A01"]

    def test_a_failing_well_fails_alone(self, runner: Runner, tmp_path: Path) -> None:
        """Its result is the sentence that says why, and names the well."""
        work = Work.of(tmp_path, damaged="A02")

        errors = {result.well: result.error for result in work.run(runner, 2)}

        assert errors.pop("A02") is not None and set(errors.values()) == {None}
        assert work.output.wells() == ("A01", "A03")

    def test_the_end_of_each_well_is_said_at_once(self, runner: Runner, tmp_path: Path) -> None:
        """However long its result waits to be asked for: whoever lists the wells is woken by it."""
        work, ended = Work.of(tmp_path), list[int]()
        with work.output.staging("run") as staging:
            order = work.order(staging, 2, on_finished=lambda: ended.append(1))
            assert len(list(runner.run(order))) == 3

        assert len(ended) == 3

    def test_closing_the_iterator_stops_the_work(self, runner: Runner, tmp_path: Path) -> None:
        """Wells that were not begun are not, and none is published afterwards: the staging folder may be removed."""
        work = Work.of(tmp_path, pausing, wells=8)
        with work.output.staging("run") as staging, closing(runner.run(work.order(staging))) as finished:
            result, _ = next(finished)
            finished.close()
            published = work.output.wells()
            assert result.well in published and len(published) < 8
        assert work.output.wells() == published

    def test_a_well_that_takes_too_long_is_ended(self, runner: Runner, tmp_path: Path) -> None:
        """It fails with the limit, if the runner says that it can end wells."""
        if not runner.can_end_a_well:
            pytest.skip(f"the runner {runner.name} says that it cannot end a well")
        work = Work.of(tmp_path, endless, wells=1)

        (result,) = work.run(runner, 1, Patience(limit_s=1.0))

        assert not result.success and "--well-timeout" in str(result.error)
        assert work.output.wells() == ()
