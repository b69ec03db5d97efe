"""The plans kept in an output folder: what was asked for, and where its steps keep their planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from openhcs_engine.errors import ContextFileError, ContextFormatError
from openhcs_engine.files.keys import check_key
from openhcs_engine.files.present import find
from openhcs_engine.model.system_errors import explained
from openhcs_engine.output.layout import CONTEXTS
from openhcs_engine.output.listing import OutputFiles, PresentFile
from openhcs_engine.plan.context import MaterializePlan, ProcessingContext
from openhcs_engine.plan.document import contexts_from_json, unpacked

Plan = Mapping[str, ProcessingContext]
PLAN_ENDINGS: Final = (".json.gz", ".json")
"""Of the files of plans, as they are written today and as earlier versions wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlans:
    """Everything in ``contexts/``."""

    plans: tuple[Plan, ...]
    """The plans that can be read, the one written last at the end."""
    unreadable: tuple[str, ...]
    """One sentence for each that is damaged, naming the file."""
    other_versions: tuple[str, ...] = ()
    """Paths of those that another version of this software wrote."""

    @property
    def wells(self) -> frozenset[str]:
        """Wells that any plan asks for."""
        return frozenset(well for plan in self.plans for well in plan)

    @property
    def image_sets(self) -> frozenset[str]:
        """Folders in which steps keep their planes."""
        steps = (step for plan in self.plans for step in next(iter(plan.values())).steps)
        return frozenset(step.materialize.place for step in steps if step.materialize is not None)


def read_plans(files: OutputFiles) -> SavedPlans:
    """Read and check all plans of an output."""
    plans, unreadable, others = [], [], []
    for path, content in files.read_all(plan_documents(files.by_path())):
        if isinstance(content, OSError):
            unreadable.append(f"{path} cannot be read ({explained(content)})")
            continue
        try:
            plans.append(contexts_from_json(content))
        except ContextFormatError:
            others.append(path)
        except ContextFileError as error:
            unreadable.append(f"{path}: {error}")
    return SavedPlans(plans=tuple(plans), unreadable=tuple(unreadable), other_versions=tuple(others))


def plan_documents(files: Mapping[str, PresentFile]) -> list[str]:
    """Paths of the plans among an output's files, the one written last at the end."""

    def age(path: str) -> tuple[int, str]:
        return files[path].changed_ns, path

    parts = {path: path.split("/") for path in files}
    return sorted((path for path in files if parts[path][0] == CONTEXTS and _is_plan(parts[path])), key=age)


def _is_plan(parts: list[str]) -> bool:
    return len(parts) == 2 and parts[1].endswith(PLAN_ENDINGS)


def image_sets_of_plans(documents: Iterable[bytes]) -> frozenset[str]:
    """Folders in which the steps of any plan keep their planes; reads no plan's wells, and passes damaged ones over."""
    return frozenset(plan.place for document in documents for plan in _materialized(document))


def plan_name(fingerprint: str) -> str:
    """Path of a plan in its output."""
    return f"{CONTEXTS}/{check_key(fingerprint)}{PLAN_ENDINGS[0]}"


def plan_files(folder: Path) -> list[Path]:
    """The files of a folder's plans, on this host."""
    return [path for path in find(folder / CONTEXTS, "*") if path.name.endswith(PLAN_ENDINGS)]


def find_plan(folder: Path, fingerprint: str) -> Path | None:
    """The file of a plan in a folder of this host, as it is written today or as earlier versions wrote it."""
    paths = (folder / CONTEXTS / f"{Path(fingerprint).name}{ending}" for ending in PLAN_ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def plans_in(folder: Path) -> Iterator[bytes]:
    """The plan documents of a folder of this host; those that cannot be read are passed over."""
    for path in plan_files(folder):
        try:
            yield path.read_bytes()
        except OSError:
            continue


class _Step(msgspec.Struct):
    materialize: MaterializePlan | None = None


class _Steps(msgspec.Struct):
    steps: list[_Step] = []


def _materialized(document: bytes) -> Iterator[MaterializePlan]:
    try:
        steps = _DECODER.decode(unpacked(document)).steps
    except (msgspec.MsgspecError, ContextFileError):
        return
    yield from (step.materialize for step in steps if step.materialize is not None)


_DECODER = msgspec.json.Decoder(_Steps)

__all__ = [
    "PLAN_ENDINGS",
    "Plan",
    "SavedPlans",
    "find_plan",
    "image_sets_of_plans",
    "plan_documents",
    "plan_files",
    "plan_name",
    "plans_in",
    "read_plans",
]
