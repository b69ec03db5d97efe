"""Running a trial: every combination is compiled first, then executed into one scratch output, as any run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from openhcs_engine.errors import CompilationError, OptionError, PipelineError, Violation
from openhcs_engine.execution.results import WellResult
from openhcs_engine.model.well_filter import WellFilter
from openhcs_engine.orchestrator import PipelineOrchestrator
from openhcs_engine.pipeline import Pipeline
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.trials.combinations import Combination
from openhcs_engine.trials.trial import Cell, Trial
from openhcs_engine.trials.views import Views
from openhcs_engine.trials.wells import ChosenWells, choose_wells

Loader: TypeAlias = Callable[[dict[str, Any]], Pipeline]
"""Makes the pipeline with some settings."""
Notice: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A combination that can be executed, or why it cannot."""

    combination: Combination
    pipeline: Pipeline | None = None
    contexts: Mapping[str, ProcessingContext] | None = None
    error: str | None = None


def run_trial(
    orchestrator: PipelineOrchestrator,
    load: Loader,
    *,
    reference: str,
    combinations: Sequence[Combination],
    fixed: Mapping[str, Any],
    wells: WellFilter = None,
    site: int | None = None,
    seed: int = 0,
    on_progress: Notice = lambda sentence: None,
) -> Trial:
    """Compile and execute each combination on some wells; look at each before the next takes its place.

    Parameters
    ----------
    orchestrator
        Of the plate, with an output of its own that nobody needs later; zarr.
    load
        Makes the pipeline ``reference`` with given settings.
    combinations, fixed
        What is varied, and the settings that all have.
    wells
        Default: a negative and a positive control and one at random.
    site
        Which is shown; default: the first. All sites of a well are run and counted.
    seed
        Of the choice of wells.

    Raises
    ------
    CompilationError
        If a setting that is varied is unknown, or a value none that it can have, all of it together; or if no
        combination can run on this plate.
    OptionError
        If the plate has no such site.
    """
    started = perf_counter()
    plate = orchestrator.plate
    if site is not None and site not in plate.sites:
        known = ", ".join(map(str, plate.sites))
        raise OptionError(f"--site {site}: the plate has no such site (it has: {known}).", option="site")
    chosen = choose_wells(plate, seed) if wells is None else None
    planned = _plan(orchestrator, load, combinations, fixed, wells if chosen is None else list(chosen.wells))
    names = next(tuple(each.contexts) for each in planned if each.contexts)
    chosen = chosen or ChosenWells(wells=names, why="as asked for")
    views = Views(plate, orchestrator.index, plate.sites[0] if site is None and plate.sites else site)
    cells: dict[tuple[int, str], Cell] = {}
    for number, each in enumerate(planned):
        on_progress(f"{number + 1} of {len(planned)}: {each.combination.title}")
        for well, cell in _cells(orchestrator, number, each, names, views).items():
            cells[number, well] = cell
    raw = views.raw(names)
    pictures, scales = views.pictures()
    return Trial(
        plate=plate,
        pipeline=reference,
        fixed=tuple((name, str(value)) for name, value in fixed.items()),
        wells=names,
        why_wells=chosen.why,
        site=views.site,
        combinations=tuple(combinations),
        raw=raw,
        cells=cells,
        pictures=pictures,
        scales=scales,
        colours=views.colours,
        seconds=perf_counter() - started,
    )


def _plan(
    orchestrator: PipelineOrchestrator,
    load: Loader,
    combinations: Sequence[Combination],
    fixed: Mapping[str, Any],
    wells: WellFilter,
) -> list[_Planned]:
    loaded, refused = list[_Planned](), dict[Violation, None]()
    for each in combinations:
        try:
            loaded.append(_Planned(each, pipeline=load(each.settings(fixed))))
        except CompilationError as error:  # unknown names, values of another type: all of all combinations
            refused |= dict.fromkeys(_as_varied(violation, each) for violation in error.violations)
        except PipelineError as error:
            if len(combinations) == 1:
                raise
            loaded.append(_Planned(each, error=str(error)))
    if refused:
        raise CompilationError.of(tuple(refused))
    planned = [each if each.pipeline is None else _compiled(orchestrator, each, wells, refused) for each in loaded]
    if not any(each.contexts for each in planned):
        if refused:
            raise CompilationError.of(tuple(refused))
        raise PipelineError(" ".join(dict.fromkeys(str(each.error) for each in planned)))
    return planned


def _compiled(
    orchestrator: PipelineOrchestrator, planned: _Planned, wells: WellFilter, refused: dict[Violation, None]
) -> _Planned:
    assert planned.pipeline is not None
    try:
        return replace(planned, contexts=orchestrator.compile(planned.pipeline, wells).contexts)
    except CompilationError as error:
        refused |= dict.fromkeys(error.violations)
        return replace(planned, error=" ".join(map(str, error.violations)))


def _as_varied(violation: Violation, combination: Combination) -> Violation:
    """What settings say of ``--set``, of ``--vary`` if that is where it comes from."""
    varied = violation.key in dict(combination.values)
    return replace(violation, message=violation.message.replace("--set ", "--vary ")) if varied else violation


def _cells(
    orchestrator: PipelineOrchestrator, number: int, planned: _Planned, wells: Sequence[str], views: Views
) -> dict[str, Cell]:
    if planned.pipeline is None or planned.contexts is None:
        return {well: Cell(error=planned.error) for well in wells}
    last: dict[str, WellResult] = {
        result.well: result for result in orchestrator.execute(planned.pipeline, planned.contexts)
    }
    folder = Path(orchestrator.output) / orchestrator.plate.plate_id
    return {
        well: views.cell(number, well, folder, last[well].warnings)
        if last[well].success
        else Cell(error=last[well].error)
        for well in wells
    }


__all__ = ["Loader", "run_trial"]
