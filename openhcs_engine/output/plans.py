"""The plans kept in an output folder: what was asked for, and where its steps keep their planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from openhcs_engine.context import MaterializePlan, ProcessingContext, contexts_from_json
from openhcs_engine.errors import ContextFileError
from openhcs_engine.output.layout import CONTEXTS

Plan = Mapping[str, ProcessingContext]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlans:
    """Everything in ``contexts/``."""

    plans: tuple[Plan, ...]
    """The plans that can be read, the one written last at the end."""
    unreadable: tuple[str, ...]
    """One sentence for each of the others, naming the file."""

    @property
    def wells(self) -> frozenset[str]:
        """Wells that any plan asks for."""
        return frozenset(well for plan in self.plans for well in plan)

    @property
    def image_sets(self) -> frozenset[str]:
        """Folders in which steps keep their planes."""
        steps = (step for plan in self.plans for step in next(iter(plan.values())).steps)
        return frozenset(step.materialize.place for step in steps if step.materialize is not None)


def read_plans(folder: Path) -> KeptPlans:
    """Read and check all plans of an output folder."""
    plans, unreadable = [], []
    for path in _documents(folder):
        try:
            plans.append(contexts_from_json(path.read_bytes()))
        except ContextFileError as error:
            unreadable.append(f"{CONTEXTS}/{path.name}: {error}")
        except OSError as error:
            unreadable.append(f"{CONTEXTS}/{path.name} cannot be read ({error.strerror})")
    return KeptPlans(plans=tuple(plans), unreadable=tuple(unreadable))


def image_sets_of_plans(folder: Path) -> frozenset[str]:
    """Folders in which the steps of any plan keep their planes; reads no plan's wells, and passes damaged ones over."""
    return frozenset(kept.place for path in _documents(folder) for kept in _kept(path))


def _documents(folder: Path) -> list[Path]:
    def age(path: Path) -> tuple[int, str]:
        return path.stat().st_mtime_ns, path.name

    return sorted((path for path in (folder / CONTEXTS).glob("*.json") if path.is_file()), key=age)


class _Step(msgspec.Struct):
    materialize: MaterializePlan | None = None


class _Steps(msgspec.Struct):
    steps: list[_Step] = []


def _kept(path: Path) -> Iterator[MaterializePlan]:
    try:
        steps = _DECODER.decode(path.read_bytes()).steps
    except (OSError, msgspec.MsgspecError):
        return
    yield from (step.materialize for step in steps if step.materialize is not None)


_DECODER = msgspec.json.Decoder(_Steps)

__all__ = ["KeptPlans", "Plan", "image_sets_of_plans", "read_plans"]
