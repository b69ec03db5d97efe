"""Where steps keep their planes, and which folders that leaves to nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from openhcs_engine.compiler.violations import Complaints
from openhcs_engine.compiler.wells import wells_of_step
from openhcs_engine.errors import Violation
from openhcs_engine.model.plate import Plate
from openhcs_engine.model.reserved_names import is_reserved_on_windows
from openhcs_engine.output.layout import BACKENDS, CONTEXTS, DISK_IMAGES, FREE, TABLES, WELLS
from openhcs_engine.pipeline.materialize import Materialize
from openhcs_engine.pipeline.step import FunctionStep
from openhcs_engine.plan.context import MaterializePlan, StepPlan
from openhcs_engine.plan.flow import StepStacks

_RESERVED: Final = frozenset({DISK_IMAGES, TABLES, WELLS, CONTEXTS, *FREE})
_NOT_IN_TIFF: Final = frozenset({"uint64", "int64", "float16"})
"""Pixel types that OME-XML has no name for."""
_SUB_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(slots=True)
class MaterializedPlanes:
    """Folders that the steps of one pipeline keep planes in; grows while it is compiled."""

    plate: Plate
    backend: str
    """That of the results."""
    owners: dict[str, str] = field(default_factory=dict)
    """Path as a file system without upper case sees it → the step that writes there."""

    def plan(self, step: FunctionStep, applies_to: frozenset[str], complain: Complaints) -> MaterializePlan | None:
        """Where a step keeps its planes of the wells that it applies to; None: nowhere, or its declaration is wrong."""
        declared: object = step.materialize
        if declared is None:
            return None
        if not isinstance(declared, Materialize):
            complain(
                f"materialize={declared!r} says nothing; give True, the name of a sub-folder, or Materialize(…).",
                "materialize",
            )
            return None
        wrong = list(_faults(declared))
        for message in wrong:
            complain(message, "materialize")
        wells = wells_of_step(self.plate, declared.wells, complain)
        if wells is not None and not applies_to & set(wells):
            complain(
                "wells of materialize has none of the wells that the step applies to; let both meet, or leave one out.",
                "materialize",
            )
        if wrong:
            return None
        plan = MaterializePlan(sub_folder=declared.sub_folder, backend=declared.backend or self.backend, wells=wells)
        self._claim(plan, complain)
        return plan

    def _claim(self, plan: MaterializePlan, complain: Complaints) -> None:
        folded = plan.place.lower()
        if folded in self.owners:
            complain(
                f"its planes would be kept in {plan.place}, where step {self.owners[folded]} keeps its own; give each "
                "step a sub-folder of its own.",
                plan.place,
            )
        self.owners.setdefault(folded, f'{complain.number} "{complain.name}"')


def _faults(declared: Materialize) -> Iterator[str]:
    name: object = declared.sub_folder
    if not isinstance(name, str) or not _SUB_FOLDER.fullmatch(name):
        yield (
            f"sub_folder={name!r} cannot name a folder of the output; use letters, digits, '_' and '-', at most 64, "
            "starting with a letter or digit."
        )
    elif name.lower() in _RESERVED:
        yield (
            f"sub_folder={name!r} is a folder of the output itself ({', '.join(sorted(_RESERVED))}); choose another "
            "name."
        )
    elif is_reserved_on_windows(name):
        yield f"sub_folder={name!r} is a name that Windows keeps for a device; choose another name."
    if declared.backend is not None and declared.backend not in BACKENDS:
        yield f"backend={declared.backend!r} of materialize is unknown (choose from {', '.join(BACKENDS)})."


def check_stored_pixels(
    steps: Sequence[StepPlan], stacks: Iterable[tuple[StepStacks, ...]], backend: str
) -> list[Violation]:
    """Pixel types, known before the run, that the files of a result cannot hold; each once."""
    found: dict[Violation, None] = {}
    for of_well in {id(each): each for each in stacks}.values():
        for step, dtypes in _to_disk(steps, of_well, backend):
            for dtype in sorted(dtypes & _NOT_IN_TIFF):
                message = (
                    f"its planes are {dtype}, which OME-TIFF files cannot hold; let its last function promise another "
                    'type, for example with dtype="float32", or write to zarr.'
                )
                found[Violation(message=message, step=step.name, step_number=step.number, key=dtype)] = None
    return list(found)


def _to_disk(
    steps: Sequence[StepPlan], stacks: Sequence[StepStacks], backend: str
) -> Iterator[tuple[StepPlan, set[str]]]:
    """Steps of a well whose planes become OME-TIFF files, and their pixel types as far as they are known."""
    applied = [(step, facts) for step, facts in zip(steps, stacks, strict=True) if facts]
    whole = bool(steps) and steps[-1].writes == "output"
    for step, facts in applied:
        is_result = whole and backend == "disk" and step is applied[-1][0]
        if is_result or (step.materialize is not None and step.materialize.backend == "disk"):
            yield step, {dtype for each in facts if (dtype := each.dtypes[-1]) is not None}
