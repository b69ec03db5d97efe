"""The first law of fingerprints, as version 0.1 computed it. It is read and never changed.

Wells that were published by it are compared by it: by its digest of functions, by the fields that plans had then, and
by the planes' files as it knew them. ``laws.now`` is the law of new wells.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import Enum
from functools import partial
from pathlib import Path, PurePath
from tokenize import TokenError
from types import CodeType, ModuleType
from typing import Any, Final

import msgspec

from openhcs_engine.laws.moved import stored_name
from openhcs_engine.model.frozen import FrozenMap

LAW: Final = 1
"""The number of this law."""

_ENGINE: Final = __name__.partition(".")[0]
_ASSIGNS: Final = ("STORE_GLOBAL", "DELETE_GLOBAL")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "StepPlan": (
        "number", "name", "variable_components", "group_by", "routes", "uncovered", "from_start", "reads", "writes",
        "wells", "materialize",
    ),
    "Route": ("key", "calls"),
    "FunctionCall": (
        "reference", "importable", "source_sha256", "version", "kwargs", "input_type", "output_type", "dtype",
        "collapses", "slice_by_slice", "declared", "coordinates", "side_outputs", "side_inputs", "cpu_twin",
    ),
    "MaterializePlan": ("sub_folder", "backend", "wells"),
    "SideOutput": ("name", "kind"),
    "SideInput": ("name", "sources"),
    "ArtifactSource": ("step", "route", "call"),
}  # fmt: skip
"""What a plan said of its steps, by the names of its classes."""


class UnknownToLawOneError(ValueError):
    """A plan says something for which this law had no word, so that nothing published by it can be the same."""


def fingerprint(
    *,
    steps: object,
    versions: tuple[str, ...],
    planes: Iterable[Sequence[object]],
    on_missing: object,
    channels: Sequence[tuple[int, str | None]],
    pixel_size_um: float | None,
    stage_um: object,
) -> str:
    """A well's fingerprint; ``steps`` are those that apply to it, counted anew, or what ``steps_json`` made of them."""
    told = {
        "format": LAW,
        "steps": steps if isinstance(steps, msgspec.Raw) else steps_json(steps),
        "versions": versions,
        "planes": list(planes),
        "on_missing": on_missing,
        "channels": channels,
        "pixel_size_um": pixel_size_um,
        **({"stage_um": stage_um} if stage_um else {}),
    }
    return hashlib.sha256(_ENCODER.encode(told)).hexdigest()


def steps_digest(steps: object) -> str:
    """Digest of what a pipeline does."""
    return hashlib.sha256(steps_json(steps)).hexdigest()


def steps_json(steps: object) -> msgspec.Raw:
    """Steps as this law writes them.

    Raises
    ------
    UnknownToLawOneError
        If they say more than it has words for.
    """
    return msgspec.Raw(_ENCODER.encode(_worded(steps)))


def _worded(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_worded(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    known = _FIELDS.get(type(value).__name__, ())
    for field in fields(value):
        if field.name not in known and getattr(value, field.name) != _default(field):
            raise UnknownToLawOneError(f"{type(value).__name__}.{field.name}")
    return {name: _worded(getattr(value, name)) for name in known}


def _default(field: Any) -> object:  # Any: dataclasses.Field of any type
    return field.default_factory() if callable(field.default_factory) else field.default


def _encode_extra(value: object) -> object:
    if isinstance(value, FrozenMap):
        return dict(value.pairs)
    raise NotImplementedError(f"{type(value).__name__} has no place in a plan")  # msgspec's contract for hooks


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_extra, order="sorted")


def source_sha256(function: Callable[..., Any]) -> str:
    """Digest of a function's source text, of the wrappers around it, of the values that it holds, and of what it names.

    It holds its defaults, its closure, and a method the state of its object. It names functions, classes and plain
    constants of its own module, or of other modules of the same package unless that is installed: of installed
    packages the version stands in the plan. Of its bytecode where there is no text (a console, a C function), and for
    lambdas, too, because one line of text may hold several.
    """
    own = _digest(function, (), whole=not _has_a_name(function))
    named = "".join(f"{name}={told};" for name, told in sorted(_named(function).items()))
    return hashlib.sha256(f"{own}{named}".encode("utf-8", "backslashreplace")).hexdigest() if named else own


@dataclass(frozen=True, slots=True)
class _Reached:
    """A function, or a wrapper, that runs when another is called, and is not known by the version of its package."""

    function: Callable[..., Any]
    module: str
    values: tuple[tuple[str, object], ...]
    """What its code names in its home."""


def _reach(function: Callable[..., Any]) -> Iterator[_Reached]:
    """The function, its wrappers, and what they call in their home, as far as that can be seen."""
    waiting, known = list(_layers(function)), set[int]()
    while waiting:
        layer = waiting.pop()
        code, scope = getattr(layer, "__code__", None), getattr(layer, "__globals__", {})
        module = str(scope.get("__name__"))
        if id(layer) in known or code is None or _is_known_by_version(module, code):
            continue
        known.add(id(layer))
        values = tuple(_values({name for each in _codes(code) for name in each.co_names}, scope, module))
        waiting += [inner for _, value in values if inspect.isfunction(value) for inner in _layers(value)]
        yield _Reached(layer, module, values)


def _named(function: Callable[..., Any]) -> dict[str, str]:
    """What the code of a function names in its home, and what that names in turn; each with what it is."""
    found: dict[str, str] = {}
    constants: dict[tuple[str, str], object] = {}
    written: set[tuple[str, str]] = set()
    for reached in _reach(function):
        written |= {(reached.module, name) for name in _written(reached.function.__code__)}
        for name, value in reached.values:
            if inspect.isfunction(value):
                found[f"{value.__module__}:{value.__qualname__}"] = _digest(value, (), whole=False)
            elif isinstance(value, type):
                found[f"{value.__module__}:{value.__qualname__}"] = _text_of(value)
            elif _is_plain(value):
                constants[reached.module, name] = value
    # What a function assigns to a name of its module is a memory, no constant.
    plain = {key: value for key, value in constants.items() if key not in written}
    return found | {f"{module}:{name}": repr(value) for (module, name), value in plain.items()}


def _values(names: set[str], scope: Mapping[str, object], module: str) -> Iterator[tuple[str, object]]:
    """The values of names in a module, and in the modules of the same package that it names."""
    for name in names & scope.keys():
        value = scope[name]
        if isinstance(value, ModuleType):
            if _is_near(value.__name__, module):
                inside = vars(value)
                yield from ((each, inside[each]) for each in names & inside.keys() if inspect.isfunction(inside[each]))
        elif not (inspect.isfunction(value) or isinstance(value, type)) or _is_near(value.__module__, module):
            yield name, value


def _is_near(other: str | None, module: str) -> bool:
    """The same module, or one of the same package."""
    return other == module or str(other).partition(".")[0] == module.partition(".")[0]


def _is_known_by_version(module: str, code: CodeType) -> bool:
    """Code of an installed package, and of the engine itself."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(code.co_filename).parts)
    return installed or module.partition(".")[0] == _ENGINE


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Code and all code in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _written(code: CodeType) -> set[str]:
    """Names of its module that code assigns to (``global``)."""
    return {
        str(each.argval) for inner in _codes(code) for each in dis.get_instructions(inner) if each.opname in _ASSIGNS
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | complex | str | bytes)


def _has_a_name(function: Callable[..., Any]) -> bool:
    """False for functions made by other functions, for methods of objects, and for what a console defines.

    What such a function holds was chosen when the program ran. A named function holds what its module's text says,
    and what its wrappers remember besides, such as results, differs between processes.
    """
    name = getattr(function, "__qualname__", "<")
    return "<" not in name and getattr(function, "__module__", None) != "__main__" and not _is_bound(function)


def _is_bound(function: object) -> bool:
    return inspect.ismethod(function) and not isinstance(function.__self__, type)


def _digest(function: Callable[..., Any], callers: tuple[object, ...], whole: bool) -> str:
    layers = _layers(function)
    told = "".join(_source_of(layer, (*layers, *callers), whole) for layer in layers)
    held = "".join(
        _told(value, (*layers, *callers), whole) for layer in layers for value in _bound_values(layer, whole)
    )
    return hashlib.sha256(f"{told}{held}".encode("utf-8", "backslashreplace")).hexdigest()


def _layers(function: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """The function inside all wrappers first, then each wrapper."""
    layers = [function]
    while (inner := getattr(layers[-1], "__wrapped__", None)) is not None and all(inner is not each for each in layers):
        layers.append(inner)
    return tuple(reversed(layers))


def _source_of(layer: Callable[..., Any], callers: tuple[object, ...], whole: bool) -> str:
    code = getattr(layer, "__code__", None)
    # getsource() would look through wrappers: each layer is asked for its own text.
    source = _text_of(layer if code is None else code)
    if code is None and not inspect.isroutine(layer):
        source += _text_of(type(layer))  # an object that can be called: its class says what it does
    if code is None or (source and code.co_name != "<lambda>"):
        return source
    return source + _of_code(code, callers, whole)


def _text_of(layer: object) -> str:
    try:
        return inspect.getsource(layer)  # type: ignore[arg-type] # what has no source is told by a TypeError
    except (OSError, TypeError, TokenError, SyntaxError):  # the file is another than what was imported
        return ""


def _of_code(code: CodeType, callers: tuple[object, ...], whole: bool) -> str:
    """Bytecode, names and constants, the functions inside included; no address in memory, no order of a set."""
    return f"{code.co_code!r}{code.co_names!r}{_told(code.co_consts, callers, whole)}"


def _bound_values(function: Callable[..., Any], whole: bool) -> Iterator[object]:
    """Values that the source text does not show: ``def f(stack, n=N)``, and the variables of a function around it."""
    yield from getattr(function, "__defaults__", None) or ()
    yield from (getattr(function, "__kwdefaults__", None) or {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a variable that has no value yet
            yield cell.cell_contents
    if whole:
        holder = function.__self__ if inspect.ismethod(function) else function
        yield from () if inspect.isroutine(holder) else (_State(holder),)


@dataclass(frozen=True, slots=True)
class _State:
    """The attributes of an object count, too."""

    of: object


def _told(value: object, callers: tuple[object, ...], whole: bool) -> str:
    """A text that is the same in every process; of other objects only their type."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{value!r};"
    if any(value is caller for caller in callers):
        return "recursion;"
    inside = (*callers, value)
    if isinstance(value, list | tuple):
        return f"[{''.join(_told(item, inside, whole) for item in value)}]"
    if isinstance(value, frozenset) or (whole and isinstance(value, set)):
        return f"{{{''.join(sorted(_told(item, inside, whole) for item in value))}}}"
    if isinstance(value, CodeType):
        return _of_code(value, callers, whole)
    if inspect.isfunction(value) or inspect.ismethod(value):
        return f"{_digest(value, callers, whole)};"
    if hasattr(value, "tobytes") and hasattr(value, "dtype") and hasattr(value, "shape"):
        if value.dtype == object and hasattr(value, "tolist"):  # its bytes are addresses
            return _told(value.tolist(), inside, whole)
        return f"{hashlib.sha256(value.tobytes()).hexdigest()}{value.dtype}{value.shape};"
    return f"{type(value).__qualname__}{_inside(value, inside) if whole else ''};"


def _inside(value: object, callers: tuple[object, ...]) -> str:
    """What a container, a declared value or an object behind a method holds; nothing of any other object."""
    if isinstance(value, _State):
        state = {} if isinstance(value.of, type) else getattr(value.of, "__dict__", {})
        return f"{_kind(value.of)}{_told(sorted(state.items()), (*callers, value.of), True)}"
    if isinstance(value, Mapping):
        pairs = (f"{_told(key, callers, True)}{_told(item, callers, True)}" for key, item in value.items())
        return f"{{{''.join(sorted(pairs))}}}"
    if isinstance(value, type | ModuleType):
        return _kind(value)
    if isinstance(value, Enum | PurePath | range | slice | date):
        return str(value)
    if isinstance(value, partial):
        return _told((value.func, value.args, value.keywords), callers, True)
    if is_dataclass(value) and not isinstance(value, type):
        return _told([getattr(value, each.name, None) for each in fields(value)], callers, True)
    return ""


def _kind(value: object) -> str:
    named = value if isinstance(value, type | ModuleType) else type(value)
    return f"{stored_name(getattr(named, '__module__', ''))}.{getattr(named, '__qualname__', named.__name__)}"
