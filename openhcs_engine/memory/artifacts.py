"""How a function says what it makes, and what it wants to be given, beside its stack.

As the memory decorators, these attach a frozen value and return the very same function; the order of decorators does
not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from openhcs_engine.memory.decorators import SIDE_DATA, contract_of, refuse_batches_with_outputs, refuse_non_functions
from openhcs_engine.model.artifacts import (
    DeclaredArtifacts,
    artifact_name,
    artifact_name_or_choice,
    declared_output,
)

F = TypeVar("F", bound=Callable[..., Any])

NOTHING: Final = DeclaredArtifacts()


def side_data_of(func: Callable[..., Any]) -> DeclaredArtifacts:
    """What ``func`` declares beside its stack; nothing if it declares nothing."""
    found = getattr(func, SIDE_DATA, NOTHING)
    return found if isinstance(found, DeclaredArtifacts) else NOTHING


def special_outputs(*declared: str | tuple[str, str]) -> Callable[[F], F]:
    """Declare what a function returns behind its stack: ``(stack, first, second, …)``, in the order declared.

    Parameters
    ----------
    declared
        Pairs (name, kind), with a kind of ``ArtifactKind``: ``table`` (a polars or pandas frame, a pyarrow table, a
        dict of columns, a list of dicts), ``measurements`` (a table with a column ``object`` and one row an object,
        which the table ``wells`` summarises), ``positions`` (an array ``(plane, 2)`` of y and x in pixels, a row for
        each plane of the stack), ``labels`` (whole numbers ``(plane, y, x)``, 0 for none, as large as the returned
        image, with the planes of the stack or one) or ``object``. A plain name has the kind of that name, else
        ``object``. A name ``{parameter}`` is the one that the function's parameter has in the step.

    Raises
    ------
    ValueError
        If a name or kind cannot be, a name is there twice, the function has outputs declared already, or is declared
        ``slice_by_slice``: the engine may call such a function with a part of a stack, whose outputs are not those of
        the stack.
    TypeError
        If what is decorated is no function.
    """
    outputs = tuple(declared_output(each) for each in declared)
    _refuse_none_or_twice("special_outputs", [output.name for output in outputs])

    def decorate(func: F) -> F:
        before = _before(func)
        if before.outputs and before.outputs != outputs:
            raise ValueError(
                f"{_name(func)} has special outputs already; declare all of them in one special_outputs(…)."
            )
        refuse_batches_with_outputs(contract_of(func), _name(func))
        return _attach(func, replace(before, outputs=outputs))

    return decorate


def special_inputs(*names: str | tuple[str, str], optional: Sequence[str | tuple[str, str]] = ()) -> Callable[[F], F]:
    """Declare parameters that the engine fills; a pair (parameter, name) one that is given something of another name.

    Each gets the artifact of its name that an earlier function made; else what the engine knows of the planes of the
    stack (``stage_positions``, ``plane_keys``) or of the plate (``PLATE_VALUES``). A parameter that the step gives
    itself stays as given. In a pair, the name ``{parameter}`` is the one that another parameter has in the step.

    Parameters
    ----------
    names
        Of parameters; where there is nothing to give them, the step is refused.
    optional
        More of them, which keep their default where no earlier function makes them and the plate does not say them.

    Raises
    ------
    ValueError
        If a name cannot be, is there twice, or the function has inputs declared already.
    TypeError
        If what is decorated is no function.
    """
    pairs = tuple((name, name) if isinstance(name, str) else _pair(name) for name in (*names, *optional))
    inputs = tuple(artifact_name(parameter) for parameter, _ in pairs)
    taken = tuple((parameter, artifact_name_or_choice(name)) for parameter, name in pairs if name != parameter)
    may_lack = inputs[len(names) :]
    _refuse_none_or_twice("special_inputs", inputs)

    def decorate(func: F) -> F:
        before = _before(func)
        if before.inputs and (before.inputs, before.taken, before.optional) != (inputs, taken, may_lack):
            raise ValueError(f"{_name(func)} has special inputs already; declare all of them in one special_inputs(…).")
        return _attach(func, replace(before, inputs=inputs, taken=taken, optional=may_lack))

    return decorate


def _pair(declared: Any) -> tuple[str, str]:  # Any: what a user wrote
    if isinstance(declared, tuple) and len(declared) == 2:
        return declared
    raise ValueError(f"{declared!r} names no input; give a parameter's name, or a pair (parameter, name).")


def parameter_files(*names: str) -> Callable[[F], F]:
    """Declare parameters that may be paths of files, as text, which the function reads.

    What the file holds decides results as its path does: in a pipeline the path must be absolute and name a file when
    the plate is compiled, and size and time of the file are part of the wells' fingerprints.

    Raises
    ------
    ValueError
        If a name cannot be, is there twice, or the function has such parameters already.
    TypeError
        If what is decorated is no function.
    """
    files = tuple(artifact_name(name) for name in names)
    _refuse_none_or_twice("parameter_files", files)

    def decorate(func: F) -> F:
        before = _before(func)
        if before.files and before.files != files:
            raise ValueError(f"{_name(func)} has parameter files already; declare all in one parameter_files(…).")
        return _attach(func, replace(before, files=files))

    return decorate


def _before(func: Callable[..., Any]) -> DeclaredArtifacts:
    refuse_non_functions(func, _name(func))
    return side_data_of(func)


def _attach(func: F, artifacts: DeclaredArtifacts) -> F:
    try:
        setattr(func, SIDE_DATA, artifacts)
    except (AttributeError, TypeError):
        raise TypeError(
            f"{_name(func)} is compiled code and cannot be decorated; call it in a function of your own."
        ) from None
    return func


def _name(func: object) -> str:
    return str(getattr(func, "__qualname__", repr(func)))


def _refuse_none_or_twice(decorator: str, names: Iterable[str]) -> None:
    counts = Counter(names)
    if not counts:
        raise ValueError(f"@{decorator} needs at least one name, as in @{decorator}('positions').")
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{decorator} names {twice[0]!r} twice; give each a name of its own.")


__all__ = ["NOTHING", "parameter_files", "side_data_of", "special_inputs", "special_outputs"]
