"""What changed in the functions of a step: which ones, their sources, parameters and promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, Final

from openhcs_engine.laws.now import is_ours
from openhcs_engine.model.artifacts import SideInput, SideOutput
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.wording import listed
from openhcs_engine.plan.context import FunctionCall
from openhcs_engine.plan.diff.change import (
    ABSENT,
    Change,
    ChangeKind,
    Label,
    differing,
    from_to,
    plain,
    shown,
    values_of,
    walk,
)

_LABELS: Final[Mapping[str, Label | None]] = {
    "input_type": Label(ChangeKind.MEMORY_TYPE, "takes"),
    "output_type": Label(ChangeKind.MEMORY_TYPE, "returns"),
    "dtype": Label(ChangeKind.DTYPE, "pixel type"),
    "version": Label(ChangeKind.VERSION, "comes from"),
    "reference": Label(ChangeKind.MODULE, "is"),
    "collapses": Label(ChangeKind.CONTRACT, "collapses its axis:"),
    "slice_by_slice": Label(ChangeKind.CONTRACT, "slice by slice:"),
    "coordinates": Label(ChangeKind.CONTRACT, "is given coordinates:"),
    "lazy": Label(ChangeKind.CONTRACT, "reads planes one by one:"),
    "declared": Label(ChangeKind.CONTRACT, "carries a decorator:"),
    "importable": Label(ChangeKind.CONTRACT, "can be imported:"),
    "revision": Label(ChangeKind.SOURCE, "gives other results since an update of this program, revision"),
    "source_by_law_1": None,  # no result depends on this one and the next
    "unfollowed": None,
}


def compare_calls(
    before: Sequence[FunctionCall], after: Sequence[FunctionCall], numbers: Mapping[int, int]
) -> Iterator[Change]:
    """The differences of two chains of calls; ``numbers`` are the steps' later numbers by their earlier ones."""
    earlier, later = ([function_label(call) for call in chain] for chain in (before, after))
    for kind, start, end, from_, to in SequenceMatcher(a=earlier, b=later, autojunk=False).get_opcodes():
        if kind == "equal":
            for one, other in zip(before[start:end], after[from_:to], strict=True):
                yield from compare_call(one, other, numbers)
            continue
        names, others = listed(earlier[start:end]), listed(later[from_:to])
        what = {"insert": f"{others} is called, too", "delete": f"{names} is called no more"}
        references = ([call.reference for call in calls] for calls in (before[start:end], after[from_:to]))
        yield _change(ChangeKind.FUNCTION, what.get(kind, from_to("function", names, others)), *references)


def function_label(call: FunctionCall) -> str:
    """A function's own name."""
    return call.reference.rpartition(":")[2].partition("#")[0]


def compare_call(before: FunctionCall, after: FunctionCall, numbers: Mapping[int, int]) -> Iterator[Change]:
    """The differences of two calls of functions of one name."""
    name = function_label(before)
    values, others = values_of(before), values_of(after)
    values["side_inputs"] = tuple(_renumbered(each, numbers) for each in before.side_inputs)
    silent: set[str] = set()
    if before.uses and after.uses and before.uses != after.uses:
        silent = {"source_sha256"}  # what it uses says more
    if is_ours(before.reference) and is_ours(after.reference):
        silent = {"source_sha256", "version"}
    for field, old, new in differing(values, others):
        match field:
            case _ if field in silent:
                continue
            case "kwargs":
                yield from _parameters(name, old, new)
            case "source_sha256":
                what = f"the source of {name} changed ({from_to('', old[:8], new[:8])})"
                yield _change(ChangeKind.SOURCE, what, old, new)
            case "uses" if old and new:  # else one of the plans does not say it
                yield from _used(name, old, new)
            case "files":
                for changed in sorted({file.name for file in {*old} ^ {*new}}):
                    what = f"the file {changed}, which {name} reads, or its modules while they are imported, changed"
                    yield Change(kind=ChangeKind.SOURCE, what=what)
            case "side_outputs" | "side_inputs":
                verb, text = ("makes", _output) if field == "side_outputs" else ("takes", _input)
                made, makes = [text(each) for each in old], [text(each) for each in new]
                yield _change(ChangeKind.SIDE_DATA, from_to(f"{name} {verb}", listed(made), listed(makes)), made, makes)
            case "cpu_twin":
                yield from _twins(name, old, new, numbers)
            case _ if field != "uses":
                yield from walk({field: old}, {field: new}, _LABELS, Label(ChangeKind.OTHER), subject=name)


def _change(kind: ChangeKind, what: str, before: Any, after: Any) -> Change:
    return Change(kind=kind, what=what, before=before, after=after)


def _used(name: str, old: FrozenMap, new: FrozenMap) -> Iterator[Change]:
    for used, before, after in sorted(differing(old, new)):
        before, after = (None if each is ABSENT else each for each in (before, after))
        kind, whose = (ChangeKind.SOURCE, "") if ":" in used else (ChangeKind.VERSION, "the version of ")
        if used == name or used.endswith(f":{name}"):
            what = f"the source of {name} changed ({from_to('', before, after)})"
        elif before is None or after is None:
            what = f"{name} uses {used}{'' if before is None else ' no more'}"
        else:
            what = f"{whose}{used}, which {name} uses, changed ({from_to('', before, after)})"
        yield _change(kind, what, before, after)


def _parameters(name: str, old: FrozenMap, new: FrozenMap) -> Iterator[Change]:
    for key, before, after in differing(old, new):
        if after is ABSENT:
            what = f"{name}({key}={shown(before)}) → {key} is left out"
        elif before is ABSENT:
            what = f"{name}: {key} was left out → {key}={shown(after)}"
        else:
            what = f"{name}: {from_to(key, before, after)}"
        yield _change(
            ChangeKind.PARAMETER, what, *(None if each is ABSENT else plain(each) for each in (before, after))
        )


def _output(made: SideOutput) -> str:
    return f"{made.name} ({made.kind.value})"


def _input(taken: SideInput) -> str:
    steps = dict.fromkeys(str(source.step) for source in taken.sources)
    return f"{taken.name} of step {', '.join(steps)}" if steps else f"{taken.name} of the plate"


def _renumbered(taken: SideInput, numbers: Mapping[int, int]) -> SideInput:
    """An input as it would be described with the later plan's numbers."""
    return replace(
        taken, sources=tuple(replace(each, step=numbers.get(each.step, each.step)) for each in taken.sources)
    )


def _twins(
    name: str, old: FunctionCall | None, new: FunctionCall | None, numbers: Mapping[int, int]
) -> Iterator[Change]:
    if old is None or new is None or function_label(old) != function_label(new):
        before, after = ("none" if call is None else call.reference for call in (old, new))
        yield _change(ChangeKind.FUNCTION, from_to(f"on the CPU stands in for {name}:", before, after), before, after)
        return
    for change in compare_call(old, new, numbers):
        yield replace(change, what=f"{change.what} (stands in for {name} on the CPU)")


__all__ = ["compare_calls", "function_label"]
