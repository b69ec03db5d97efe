"""Settings of a pipeline: values for the parameters of the function that makes it, and for those of its functions.

``nuclei=DAPI`` is a parameter of the pipeline, ``segment_nuclei.minimum_area_px=30`` one of a function in it, which is
named by itself or by its step.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, Final, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from openhcs_engine.errors import CompilationError, PipelineError, Violation
from openhcs_engine.pipeline.patterns import StackFunction, first_function_name
from openhcs_engine.pipeline.pipeline import Pipeline, PipelineStep
from openhcs_engine.pipeline.plate_step import PlateStep
from openhcs_engine.pipeline.step import FunctionStep

Settings: TypeAlias = Mapping[str, object]
"""Values by name; texts stand for what they say, as on a command line."""

PipelineMaker: TypeAlias = Callable[..., Sequence[PipelineStep]]
"""A function whose keyword parameters are those of the pipeline that it returns."""

_SEQUENCES: Final = (list, tuple, set, frozenset, Sequence)
_NONE: Final = ("none", "null")
_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_maker(value: object) -> bool:
    """True for a function that may return a pipeline, false for a pipeline, a list of steps, a class or a value."""
    return callable(value) and not isinstance(value, type)


def configured(
    pipeline: Sequence[PipelineStep] | PipelineMaker, settings: Settings, channels: Sequence[str] = ()
) -> Sequence[PipelineStep]:
    """A pipeline with its settings; itself if it is none of a function's and there are no settings.

    Parameters
    ----------
    pipeline
        A list of steps, or a function that returns one. The parameters of the function are those of the pipeline; one
        without a default must be set.
    settings
        By name: ``parameter`` of that function, or ``name.parameter`` of all functions in the pipeline that have that
        name or are in a step of that name. Texts are read by the parameter's annotation, without one by its default.
    channels
        Names of the plate's channels, for the sentence about a parameter that is missing: most that have no default
        are the role of a channel.

    Raises
    ------
    CompilationError
        If a name is unknown, a value is none that its parameter can have, or one that is needed is missing; all of it
        together, with the names there are.
    PipelineError
        If the function fails, or returns something else than a pipeline.
    """
    own = {name: value for name, value in settings.items() if "." not in name}
    violations: list[Violation] = []
    dotted = {name: value for name, value in settings.items() if "." in name}
    steps: Sequence[PipelineStep] | None
    if callable(pipeline) and is_maker(pipeline):
        steps = _made(pipeline, own, violations, channels)
    else:
        steps = cast("Sequence[PipelineStep]", pipeline)
        violations += [_no_parameters(name, steps) for name in own]
    # What is in a pipeline that could not be made, nobody knows.
    changes = _Changes() if steps is None else _Changes.of(steps, dotted, violations)
    if violations or steps is None:
        raise CompilationError.of(tuple(dict.fromkeys(violations)))  # two steps may have the same function
    return changes.apply(steps, settings) if settings else steps


def _made(
    maker: PipelineMaker, given: Settings, violations: list[Violation], channels: Sequence[str]
) -> Sequence[PipelineStep] | None:
    """What the function returns, without the settings that are wrong; None if it cannot be called so."""
    title = getattr(maker, "__name__", type(maker).__name__)
    parameters = _Parameters.of(maker)
    values: dict[str, object] = {}
    for name, value in given.items():
        if name not in parameters.named:
            violations.append(_unknown(name, f"The pipeline {title!r}", parameters.named, ""))
        else:
            _read(name, value, parameters, values, violations)
    missing = [name for name in parameters.needed if name not in given]
    has = f" (channels of this plate: {', '.join(channels)})" if channels else ""
    violations += [
        Violation(message=f"The pipeline {title!r} needs {name!r}; give it: --set {name}=…{has}.", key=name)
        for name in missing
    ]
    if missing:
        return None
    try:
        steps = maker(**values)
    except Exception as error:  # a user's function may raise anything
        if violations:  # perhaps for a value that it was not given
            return None
        raise PipelineError(f"The pipeline {title!r} cannot be made: {type(error).__name__}: {error}.") from error
    if not isinstance(steps, list) or not all(isinstance(step, FunctionStep | PlateStep) for step in steps):
        raise PipelineError(
            f"The function {title!r} returned a {type(steps).__name__}; one that is named as a pipeline must return "
            "Pipeline([FunctionStep(…), …])."
        )
    named = isinstance(steps, Pipeline) and steps.name != Pipeline().name
    return _with_name(steps, steps.name if isinstance(steps, Pipeline) and named else title)


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What a function takes by name, behind its stack if it has one."""

    named: Mapping[str, inspect.Parameter]
    kinds: Mapping[str, Any]
    """Their annotations, resolved; those that cannot be are left out."""

    @classmethod
    def of(cls, function: Callable[..., object], *, behind_stack: bool = False) -> _Parameters:
        try:
            parameters = list(inspect.signature(function).parameters.values())[1 if behind_stack else 0 :]
        except (TypeError, ValueError):  # functions written in C may not tell
            parameters = []
        try:
            kinds = get_type_hints(inspect.unwrap(function))
        except Exception:  # names that exist for type checkers only
            kinds = {}
        return cls({each.name: each for each in parameters if each.kind in _BY_NAME}, kinds)

    @property
    def needed(self) -> list[str]:
        return [name for name, each in self.named.items() if each.default is each.empty]

    def kind(self, name: str) -> Any:
        """The type of a parameter's values; Any if nobody says."""
        default = self.named[name].default
        untyped = default is None or default is inspect.Parameter.empty
        return self.kinds.get(name, Any if untyped else type(default))


@dataclass(frozen=True, slots=True)
class _Changes:
    """Parameters of functions that are set, by the position of their step."""

    of_steps: Mapping[int, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)
    """Position → name of the function → parameter → value."""

    @classmethod
    def of(cls, steps: Sequence[PipelineStep], given: Settings, violations: list[Violation]) -> _Changes:
        changes: dict[int, dict[str, dict[str, object]]] = {}
        for name, value in given.items():
            prefix, _, parameter = name.rpartition(".")
            named = [
                (position, function)
                for position, step in enumerate(steps)
                for function in _functions(_pattern(step))
                if prefix in (str(step.name), _title(function))
            ]
            takers = [(position, function, _Parameters.of(function, behind_stack=True)) for position, function in named]
            taking = [each for each in takers if parameter in each[2].named]
            if not taking:
                violations.append(_no_function(name, steps, takers))
            for position, function, parameters in taking:
                values = changes.setdefault(position, {}).setdefault(_title(function), {})
                _read(name, value, parameters, values, violations)
        return cls(changes)

    def apply(self, steps: Sequence[PipelineStep], settings: Settings) -> Pipeline:
        """The steps with the values in their functions' parameters; the name says the settings, too."""
        changed = [
            _changed(step, self.of_steps[position]) if position in self.of_steps else step
            for position, step in enumerate(steps)
        ]
        pipeline = steps if isinstance(steps, Pipeline) else Pipeline(steps)
        given = ", ".join(f"{name}={_shown(value)}" for name, value in settings.items())
        return Pipeline(
            changed, name=f"{pipeline.name} ({given})", description=pipeline.description, metadata=pipeline.metadata
        )


def _pattern(step: object) -> object:
    """The functions of a step; nothing of what is no step, which the compiler refuses."""
    return step.func if isinstance(step, FunctionStep) else step.fit if isinstance(step, PlateStep) else None


def _changed(step: PipelineStep, values: Mapping[str, Mapping[str, object]]) -> PipelineStep:
    if isinstance(step, PlateStep):
        return replace(step, fit=_with_values(step.fit, values))
    return replace(step, func=_with_values(step.func, values))


def _functions(pattern: object) -> Iterator[StackFunction]:
    """All functions of a pattern; parts that are none are the compiler's to refuse."""
    if isinstance(pattern, Mapping):
        pattern = list(pattern.values())
    if isinstance(pattern, list):
        for item in pattern:
            yield from _functions(item)
    elif isinstance(pattern, tuple) and pattern and is_maker(pattern[0]):
        yield pattern[0]
    elif callable(pattern) and is_maker(pattern):
        yield pattern


def _with_values(pattern: Any, values: Mapping[str, Mapping[str, object]]) -> Any:  # Any: whatever a user gave
    if isinstance(pattern, Mapping):
        return {key: _with_values(entry, values) for key, entry in pattern.items()}
    if isinstance(pattern, list):
        return [_with_values(item, values) for item in pattern]
    if isinstance(pattern, tuple) and len(pattern) == 2 and is_maker(pattern[0]) and isinstance(pattern[1], Mapping):
        return pattern[0], {**pattern[1], **values.get(_title(pattern[0]), {})}
    if is_maker(pattern) and _title(pattern) in values:
        return pattern, dict(values[_title(pattern)])
    return pattern


def _title(function: object) -> str:
    return first_function_name(function) or type(function).__name__


def _with_name(steps: Sequence[PipelineStep], name: str) -> Pipeline:
    if not isinstance(steps, Pipeline):
        return Pipeline(steps, name=name)
    return Pipeline(steps, name=name, description=steps.description, metadata=steps.metadata)


def _read(
    name: str, value: object, parameters: _Parameters, values: dict[str, object], violations: list[Violation]
) -> None:
    """Put a setting's value among those of its function, or say why it is none."""
    parameter = name.rpartition(".")[2]
    kind = parameters.kind(parameter)
    try:
        values[parameter] = as_kind(value, kind)
    except ValueError:
        violations.append(
            Violation(message=f"--set {name}={_shown(value)}: {parameter!r} is {_described(kind)}.", key=name)
        )


def as_kind(value: object, kind: Any) -> object:
    """A value of a type: texts stand for what they say, others must be of it already.

    Parameters
    ----------
    value
        Text, such as ``30``, ``true``, ``none`` or ``DAPI,GFP``; or a value.
    kind
        A type or annotation: bool, int, float, str, an enumeration, ``Literal``, unions of them, lists and tuples of
        them (their texts between commas). Of any other, and of Any, a text is read as JSON if it is JSON.

    Raises
    ------
    ValueError
        If it cannot be one.
    """
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    # A text is a number or None if it may be one, and stays a text only if it may be nothing else.
    for option in sorted(options, key=lambda each: each is str):
        try:
            return _as_one(value, option)
        except (msgspec.ValidationError, ValueError, TypeError):
            continue
    raise ValueError(f"{value!r} is not {_described(kind)}")


def _as_one(value: object, kind: Any) -> object:
    if kind is Any or not _is_plain(kind):
        return _json(value) if isinstance(value, str) else value
    if kind in (None, type(None)):
        if value is None or (isinstance(value, str) and value.lower() in _NONE):
            return None
        raise ValueError(value)
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if isinstance(value, str) and origin in _SEQUENCES:
        of_items = inner[0] if inner else Any
        items = [as_kind(part.strip(), of_items) for part in value.split(",")] if value.strip() else []
        return msgspec.convert(items, kind)
    if kind is str and not isinstance(value, str):
        raise ValueError(value)
    return msgspec.convert(value, kind, strict=not isinstance(value, str))


def _is_plain(kind: Any) -> bool:
    """True for what texts can stand for."""
    origin = get_origin(kind) or kind
    if origin in (bool, int, float, str, None, type(None), *_SEQUENCES) or str(origin) == "typing.Literal":
        return True
    return isinstance(origin, type) and issubclass(origin, Enum)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _described(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    if str(get_origin(kind)) == "typing.Literal":
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in _SEQUENCES and get_args(kind):
        return f"a list, each item {_described(get_args(kind)[0])}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    return words.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _unknown(name: str, owner: str, known: Mapping[str, object] | Sequence[str], hint: str) -> Violation:
    near = get_close_matches(name, list(known), n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    return Violation(
        message=f"{owner} has no parameter {name!r} (there are: {', '.join(known) or 'none'}){meant}{hint}", key=name
    )


def _no_parameters(name: str, steps: Sequence[PipelineStep]) -> Violation:
    hint = " It is a list of steps; name a function's parameter, as in " + (
        next(iter(_settable(steps)), "function.parameter") + "."
    )
    return _unknown(name, f"The pipeline {getattr(steps, 'name', 'given')!r}", (), hint)


def _no_function(
    name: str, steps: Sequence[PipelineStep], takers: Sequence[tuple[int, StackFunction, _Parameters]]
) -> Violation:
    """Why a setting with a dot means nothing: nothing has that name, or what has it takes no such parameter."""
    prefix, _, parameter = name.rpartition(".")
    if takers:
        known = dict.fromkeys(each for _, _, parameters in takers for each in parameters.named)
        return replace(_unknown(parameter, repr(prefix), list(known), ""), key=name)
    functions = dict.fromkeys(setting.rpartition(".")[0] for setting in _settable(steps))
    near = get_close_matches(prefix, list(functions), n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    return Violation(
        message=f"--set {name}: the pipeline has no function or step {prefix!r} (functions with parameters: "
        f"{', '.join(functions) or 'none'}){meant}",
        key=name,
    )


def _settable(steps: Sequence[PipelineStep]) -> Iterator[str]:
    """Every setting of functions that there is."""
    for step in steps:
        for function in _functions(_pattern(step)):
            for name in _Parameters.of(function, behind_stack=True).named:
                yield f"{_title(function)}.{name}"


__all__ = ["PipelineMaker", "Settings", "as_kind", "configured", "is_maker"]
