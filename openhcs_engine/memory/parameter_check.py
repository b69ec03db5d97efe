"""How a function says which values its parameters may have, so that others are refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from openhcs_engine.memory.decorators import refuse_non_functions

F = TypeVar("F", bound=Callable[..., Any])

Refusals: TypeAlias = Iterable[tuple[str, str]]
"""Pairs: the parameter that is wrong, and a sentence that says what would be right."""
ParameterCheck: TypeAlias = Callable[..., Refusals]
"""Takes the parameters that are known at compile by name, and must have a default for each."""

_CHECK: Final = "__openhcs_check__"


def checked_by(check: ParameterCheck) -> Callable[[F], F]:
    """Declare who judges the parameters of a function when a pipeline is compiled.

    Parameters
    ----------
    check
        Is called with the parameters that the step gives and with those that the plate gives, by name; it takes others
        as ``**unused``. An optional special input that nothing fills is given with its default. Yields a pair
        (parameter, sentence) for each one that is wrong.

    Raises
    ------
    TypeError
        If what is decorated is no function.
    """

    def decorate(func: F) -> F:
        refuse_non_functions(func, str(getattr(func, "__qualname__", repr(func))))
        setattr(func, _CHECK, check)
        return func

    return decorate


def check_of(function: object) -> ParameterCheck | None:
    """Who judges the parameters of a function; None: nobody."""
    found: ParameterCheck | None = getattr(function, _CHECK, None)
    return found


__all__ = ["ParameterCheck", "Refusals", "check_of", "checked_by"]
