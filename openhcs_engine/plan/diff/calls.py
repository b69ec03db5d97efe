"""What changed in the functions of a step: which ones, their sources, parameters and promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import SequenceMatcher
from typing import Any, Final

from openhcs_engine.laws.now import is_ours
from openhcs_engine.model.artifacts import SideInput, SideOutput
from openhcs_engine.model.digest import digest
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.model.wording import listed
from openhcs_engine.plan.context import FunctionCall, UsedFile
from openhcs_engine.plan.diff.change import ChangeKind, from_to, short, shown


@dataclass(frozen=True, slots=True)
class Difference:
    """A change that is not yet told where it is."""

    kind: ChangeKind
    what: str
    before: Any = None  # Any: what JSON may hold
    after: Any = None


_NAMES: Final = {
    "input_type": (ChangeKind.MEMORY_TYPE, "takes"),
    "output_type": (ChangeKind.MEMORY_TYPE, "returns"),
    "dtype": (ChangeKind.DTYPE, "pixel type"),
    "version": (ChangeKind.VERSION, "comes from"),
    "collapses": (ChangeKind.CONTRACT, "collapses its axis:"),
    "slice_by_slice": (ChangeKind.CONTRACT, "slice by slice:"),
    "coordinates": (ChangeKind.CONTRACT, "is given coordinates:"),
    "declared": (ChangeKind.CONTRACT, "carries a decorator:"),
    "importable": (ChangeKind.CONTRACT, "can be imported:"),
    "revision": (ChangeKind.SOURCE, "gives other results since an update of this program, revision"),
}
"""Fields of a call that are one value each."""
_UNTOLD: Final = frozenset({"source_by_law_1", "unfollowed"})
"""Fields that no result depends on."""
_NESTED: Final = frozenset({"kwargs", "cpu_twin"})
"""Fields that are equal to Python where they are not in a plan: 1 and 1.0 give other results."""


def compare_calls(
    before: Sequence[FunctionCall], after: Sequence[FunctionCall], numbers: Mapping[int, int]
) -> Iterator[Difference]:
    """The differences of two chains of calls; ``numbers`` are the steps' later numbers by their earlier ones."""
    earlier, later = ([function_label(call) for call in chain] for chain in (before, after))
    for kind, start, end, from_, to in SequenceMatcher(a=earlier, b=later, autojunk=False).get_opcodes():
        old, new = before[start:end], after[from_:to]
        if kind == "equal":
            for one, other in zip(old, new, strict=True):
                yield from compare_call(one, other, numbers)
        else:
            yield _replaced(old, new)


def function_label(call: FunctionCall) -> str:
    """A function's own name."""
    return call.reference.rpartition(":")[2].partition("#")[0]


def compare_call(before: FunctionCall, after: FunctionCall, numbers: Mapping[int, int]) -> Iterator[Difference]:
    """The differences of two calls of functions of one name."""
    name = function_label(before)
    ours = is_ours(before.reference) and is_ours(after.reference)
    for field in fields(FunctionCall):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in _UNTOLD or (ours and field.name in {"source_sha256", "version"}):
            continue
        if field.name == "source_sha256" and before.uses and after.uses and before.uses != after.uses:
            continue  # what it uses tells more
        if field.name == "side_inputs":
            old = tuple(_renumbered(each, numbers) for each in old)
        if field.name in _NESTED or old != new:
            yield from _of_field(name, field.name, old, new, numbers)


def _of_field(name: str, field: str, old: Any, new: Any, numbers: Mapping[int, int]) -> Iterator[Difference]:
    match field:
        case "kwargs":
            yield from _parameters(name, old, new)
        case "reference":
            yield Difference(ChangeKind.MODULE, f"{name} is {from_to('', old, new)}", old, new)
        case "source_sha256":
            what = f"the source of {name} changed ({from_to('', short(old), short(new))})"
            yield Difference(ChangeKind.SOURCE, what, old, new)
        case "uses":
            yield from _used(name, old, new)
        case "files":
            yield from _files(name, old, new)
        case "side_outputs":
            yield _outputs(name, old, new)
        case "side_inputs":
            yield _inputs(name, old, new)
        case "cpu_twin":
            yield from _twins(name, old, new, numbers)
        case _:
            kind, label = _NAMES.get(field, (ChangeKind.OTHER, f"{field}:"))
            yield Difference(kind, from_to(f"{name} {label}", old, new), plain(old), plain(new))


def _used(name: str, old: FrozenMap, new: FrozenMap) -> Iterator[Difference]:
    """What changed in what a function uses; nothing where the earlier plan does not say it."""
    if not old or not new:
        return
    for used in sorted({*old, *new}):
        before, after = old.get(used), new.get(used)
        if before == after:
            continue
        kind, whose = (ChangeKind.SOURCE, "") if ":" in used else (ChangeKind.VERSION, "the version of ")
        if used == name or used.endswith(f":{name}"):
            what = f"the source of {name} changed ({from_to('', before, after)})"
        elif before is None or after is None:
            what = f"{name} uses {used}{'' if before is None else ' no more'}"
        else:
            what = f"{whose}{used}, which {name} uses, changed ({from_to('', before, after)})"
        yield Difference(kind, what, before, after)


def _files(name: str, old: Sequence[UsedFile], new: Sequence[UsedFile]) -> Iterator[Difference]:
    before, after = ({(file.name, file.size, file.mtime_ns) for file in files} for files in (old, new))
    for changed in sorted({file for file, _, _ in before ^ after}):
        what = f"the file {changed}, which modules of {name} read while they are imported, changed"
        yield Difference(ChangeKind.SOURCE, what)


def _replaced(old: Sequence[FunctionCall], new: Sequence[FunctionCall]) -> Difference:
    before, after = [call.reference for call in old], [call.reference for call in new]
    shown_before, shown_after = listed(map(function_label, old)), listed(map(function_label, new))
    if not old:
        what = f"{shown_after} is called, too"
    elif not new:
        what = f"{shown_before} is called no more"
    else:
        what = from_to("function", shown_before, shown_after)
    return Difference(ChangeKind.FUNCTION, what, before, after)


def _parameters(name: str, old: FrozenMap, new: FrozenMap) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        if key not in new:
            what = f"{name}({key}={shown(old[key])}) → {key} is left out"
        elif key not in old:
            what = f"{name}: {key} was left out → {key}={shown(new[key])}"
        elif digest(old[key]) != digest(new[key]):
            what = f"{name}: {from_to(key, old[key], new[key])}"
        else:
            continue
        yield Difference(ChangeKind.PARAMETER, what, plain(old.get(key)), plain(new.get(key)))


def _outputs(name: str, old: Sequence[SideOutput], new: Sequence[SideOutput]) -> Difference:
    before, after = ([f"{each.name} ({each.kind.value})" for each in made] for made in (old, new))
    return Difference(ChangeKind.SIDE_DATA, from_to(f"{name} makes", listed(before), listed(after)), before, after)


def _inputs(name: str, old: Sequence[SideInput], new: Sequence[SideInput]) -> Difference:
    before, after = ([_told_input(each) for each in taken] for taken in (old, new))
    return Difference(ChangeKind.SIDE_DATA, from_to(f"{name} takes", listed(before), listed(after)), before, after)


def _told_input(side: SideInput) -> str:
    steps = dict.fromkeys(source.step for source in side.sources)
    return f"{side.name} of step {', '.join(map(str, steps))}" if steps else f"{side.name} of the plate"


def _renumbered(side: SideInput, numbers: Mapping[int, int]) -> SideInput:
    """A side input as it would be told with the later plan's numbers."""
    return replace(side, sources=tuple(replace(each, step=numbers.get(each.step, each.step)) for each in side.sources))


def _twins(
    name: str, old: FunctionCall | None, new: FunctionCall | None, numbers: Mapping[int, int]
) -> Iterator[Difference]:
    if old is None and new is None:
        return
    if old is None or new is None or function_label(old) != function_label(new):
        before, after = ("none" if call is None else call.reference for call in (old, new))
        what = from_to(f"on the CPU stands in for {name}:", before, after)
        yield Difference(ChangeKind.FUNCTION, what, before, after)
        return
    for found in compare_call(old, new, numbers):
        yield replace(found, what=f"{found.what} (stands in for {name} on the CPU)")


def plain(value: Any) -> Any:
    """A value of a plan as JSON writes it."""
    if isinstance(value, FrozenMap):
        return {name: plain(item) for name, item in value.pairs}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


__all__ = ["Difference", "compare_call", "compare_calls", "function_label", "plain"]
