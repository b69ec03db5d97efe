"""Whether a function takes the parameters that it is given, and whether a plan can hold them."""

from __future__ import annotations

import inspect
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from openhcs_engine.memory.artifacts import side_data_of
from openhcs_engine.memory.decorators import FunctionContract
from openhcs_engine.memory.parameter_check import check_of
from openhcs_engine.model.frozen import FrozenMap, JsonValue, freeze_value
from openhcs_engine.model.system_errors import explained
from openhcs_engine.pipeline.patterns import DeclaredCall, Refuse, StackFunction
from openhcs_engine.plan.context import COORDINATES, FunctionCall, UsedFile

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


def check_parameters(call: DeclaredCall, contract: FunctionContract, inputs: Iterable[str], refuse: Refuse) -> None:
    """Refuse each parameter that the function does not take, and each that it needs and is not given."""
    name = function_title(call.function)
    for key in call.kwargs:
        if not isinstance(key, str):
            refuse(f"{name}: parameter names must be text, not {key!r}; write it in quotes.", str(key))
    if contract.coordinates and COORDINATES in call.kwargs:
        refuse(
            f"{name} is declared with coordinates=True, so that the engine gives it coordinates; take the parameter "
            "out of the step.",
            COORDINATES,
        )
    try:
        signature = inspect.signature(call.function)
    except (TypeError, ValueError):
        return  # functions written in C may not tell
    takes = _Signature.of(signature)
    if takes is None:
        refuse(f"{name}{signature} takes no stack; give it a first parameter for the stack (plane, y, x).", name)
        return
    filled = tuple(inputs)
    takes.check_given(name, [key for key in call.kwargs if isinstance(key, str)], refuse)
    takes.check_filled(name, filled, coordinates=contract.coordinates, refuse=refuse)
    takes.check_needed(name, {*call.kwargs, *filled, *([COORDINATES] if contract.coordinates else [])}, refuse)


def freeze_parameters(call: DeclaredCall, refuse: Refuse) -> FrozenMap:
    """The parameters as a plan holds them; those that it cannot hold are refused and left out."""
    frozen: dict[str, JsonValue] = {}
    for key, value in call.kwargs.items():
        if not isinstance(key, str):
            continue
        try:
            frozen[key] = freeze_value(value, key)
            _refuse_half_letters((key, frozen[key]), key)
        except (TypeError, ValueError) as error:
            frozen.pop(key, None)
            refuse(f"{function_title(call.function)}: parameter {error}", key)
        except RecursionError:
            refuse(f"{function_title(call.function)}: parameter {key} holds itself; give plain values.", key)
    return FrozenMap(tuple(sorted(frozen.items())))


def given_or_default(call: DeclaredCall) -> dict[str, object]:
    """The values of a function's parameters, as far as the step or the function gives one."""
    try:
        parameters = inspect.signature(call.function).parameters.values()
    except (TypeError, ValueError):  # functions written in C may not tell
        parameters = ()  # type: ignore[assignment] # nothing to go through
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {**defaults, **{key: value for key, value in call.kwargs.items() if isinstance(key, str)}}


def refuse_values(function: StackFunction, call: FunctionCall, refuse: Refuse) -> None:
    """Refuse the values that the function's own check finds wrong; see ``memory.checked_by``."""
    check, name = check_of(function), function_title(function)
    if check is None:
        return
    given = {*call.kwargs, *(each.target for each in call.side_inputs)}
    unfilled = [each for each in side_data_of(function).optional if each not in given]
    parameters = inspect.signature(function).parameters
    values = {each: parameters[each].default for each in unfilled if each in parameters} | call.kwargs.thaw()
    try:
        refusals = list(check(**values))
    except Exception as error:  # a check of a user's own may raise anything; all violations come at once
        refuse(f"{name}: asking its check about its parameters raised {type(error).__name__}: {error}.", name)
        return
    for key, sentence in refusals:
        refuse(f"{name}: {sentence}", key)


def stamp_files(call: DeclaredCall, parameters: Iterable[str], refuse: Refuse) -> tuple[UsedFile, ...]:
    """The files that parameters name as text; those that name none are refused."""
    stamped: list[UsedFile] = []
    for key in parameters:
        path = call.kwargs.get(key)
        if not isinstance(path, str):
            continue
        name = f"{function_title(call.function)}: {key}={path!r}"
        if not Path(path).is_absolute():
            refuse(f"{name} is no absolute path; give one, as in str(Path(__file__).parent / {path!r}).", key)
            continue
        try:
            status = Path(path).stat()
        except (OSError, ValueError) as error:
            refuse(f"{name} cannot be opened: {explained(error) if isinstance(error, OSError) else error}.", key)
            continue
        if not stat.S_ISREG(status.st_mode):
            refuse(f"{name} is no file; give the file itself.", key)
            continue
        stamped.append(UsedFile(path=path, size=status.st_size, mtime_ns=status.st_mtime_ns))
    return tuple(stamped)


def function_title(function: StackFunction) -> str:
    """A function's own name, as sentences have it."""
    return str(getattr(function, "__name__", None) or f"an object of {type(function).__name__}")


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a function takes behind its stack."""

    stack: str
    """Name of the parameter that gets the stack."""
    behind: Mapping[str, inspect.Parameter]
    open: bool
    """It takes any name (``**options``)."""

    @classmethod
    def of(cls, signature: inspect.Signature) -> _Signature | None:
        """None: it cannot be called with a stack."""
        first = next(iter(signature.parameters.values()), None)
        if first is None or first.kind not in _BY_POSITION:
            return None
        rest = list(signature.parameters.values())[1:]
        named = {each.name: each for each in rest if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        taken = first.name if first.kind is first.POSITIONAL_OR_KEYWORD else ""
        return cls(taken, named, any(each.kind is each.VAR_KEYWORD for each in rest))

    def check_given(self, name: str, keys: Iterable[str], refuse: Refuse) -> None:
        """What the step gives."""
        for key in keys:
            if key == self.stack:
                refuse(f"{name} gets its stack as {key!r}; take it out of the parameters.", key)
            elif key in self.behind and self.behind[key].kind not in _BY_NAME and not self.open:
                refuse(f"{name} takes {key!r} by position only; take the '/' behind it out of its signature.", key)
            elif key not in self.behind and not self.open:
                refuse(f"{name} has no parameter {key!r} ({self._known()}); {self._meant(key)}", key)

    def check_filled(self, name: str, inputs: Iterable[str], *, coordinates: bool, refuse: Refuse) -> None:
        """What the engine gives."""
        for key in inputs:
            if not self._takes(key):
                refuse(
                    f"{name} is declared with special_inputs({key!r}), but has no parameter of that name that can be "
                    f"given by keyword ({self._known()}); add it behind the stack.",
                    key,
                )
        if coordinates and not self._takes(COORDINATES):
            refuse(
                f"{name} is declared with coordinates=True, but has no parameter 'coordinates' ({self._known()}); add "
                "it behind the stack.",
                COORDINATES,
            )

    def check_needed(self, name: str, given: set[object], refuse: Refuse) -> None:
        """What nobody gives."""
        for key, parameter in self.behind.items():
            if key not in given and parameter.default is parameter.empty:
                how = (
                    f'give it in the step, as in ({name}, {{"{key}": …}})'
                    if parameter.kind in _BY_NAME
                    else "give it a default, for it can be given by position only"
                )
                refuse(f"{name} is missing its parameter {key!r}; {how}.", key)

    def _takes(self, key: str) -> bool:
        return self.behind[key].kind in _BY_NAME if key in self.behind else self.open

    def _known(self) -> str:
        return f"its parameters: {', '.join(key for key in self.behind if not key.startswith('_')) or 'none'}"

    def _meant(self, key: str) -> str:
        close = get_close_matches(key, self.behind, n=1)
        return f"did you mean {close[0]!r}?" if close else "take it out of the step."


def _refuse_half_letters(value: JsonValue, name: str) -> None:
    """ValueError for text that no file can hold: half of a surrogate pair."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} holds the text {value!r}, which is no Unicode; write it anew.") from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_half_letters(key, name)
            _refuse_half_letters(item, name)
    elif isinstance(value, tuple):
        for item in value:
            _refuse_half_letters(item, name)


__all__ = [
    "check_parameters",
    "freeze_parameters",
    "function_title",
    "given_or_default",
    "refuse_values",
    "stamp_files",
]
