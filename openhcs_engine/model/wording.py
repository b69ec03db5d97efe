"""Counts, lists and names in sentences, and the words of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final

_OPTION: Final = "option"


def counted(count: int, noun: str) -> str:
    """``1 well``, ``2 wells``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Names between commas; ``nothing`` for none."""
    return ", ".join(names) or "nothing"


def listed_first(values: Iterable[object], most: int = 12, separator: str = ", ") -> str:
    """Values in a row; of more than ``most`` the first, and how many more there are: ``A01, A02 and 3 more``."""
    texts = [str(value) for value in values]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + rest


def first_sentences(sentences: Sequence[str], most: int, others: str) -> list[str]:
    """The first of many like sentences, and one that says how many ``others`` there are."""
    rest = len(sentences) - most
    return [*sentences[:most], *([f"{rest} more {others}."] if rest > 0 else [])]


def unknown_options(given: Iterable[str], valid: Sequence[str]) -> str | None:
    """Which of the names are no options, with those that are and the nearest, as a clause; None if all are."""
    if not (unknown := [name for name in given if name not in valid]):
        return None
    return f"{', '.join(map(repr, unknown))} is not an option (choose from {', '.join(valid)}){nearest(unknown, valid)}"


def nearest(unknown: Iterable[str], valid: Sequence[str]) -> str:
    """``; the nearest is 'z_prime'``: what unknown names may have meant; empty where nothing comes near."""
    near = [match for name in unknown for match in get_close_matches(name, valid, n=1)]
    return f"; the nearest is {', '.join(map(repr, near))}" if near else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionWords:
    """What people read of a field of ``RunOptions`` or ``ReadOptions``, and which commands take it."""

    help: str
    register_help: str = ""
    """Help of ``openhcs-dagster add``, which takes any text where ``openhcs`` lists choices; empty: the same."""
    kind: type = str
    """Type of the value on a command line."""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    """All values that there are; empty: any."""
    noun: str = ""
    """What a value is called that is none of the choices."""
    least: int | None = None
    """The number that leaves the choice to the program; ``openhcs`` takes only larger ones."""
    commands: tuple[str, ...] = ()
    """Commands that take the option; empty: all that take its kind."""
    keyword: str = ""
    """Name of the keyword in Python, if not the option's own."""
    parse: Callable[[Any], Any] | None = None
    """Makes the value of what a command line holds; None: it is that."""


def option(default: object, about: str, **words: Any) -> Any:  # Any: a field of any type
    """A field of a dataclass of options, with the fields of its ``OptionWords`` by their names."""
    metadata = {_OPTION: OptionWords(help=about, **words)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, hash=False, metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(kind: type, command: str | None = None) -> dict[str, tuple[Any, OptionWords]]:
    """Default and words of each option of a dataclass by its name; those that a command takes, if one is given."""
    every = {each.name: (_default(each), each.metadata[_OPTION]) for each in fields(kind)}
    return {
        name: (default, words)
        for name, (default, words) in every.items()
        if command is None or not words.commands or command in words.commands
    }


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


__all__ = [
    "OptionWords",
    "counted",
    "first_sentences",
    "listed",
    "listed_first",
    "nearest",
    "option",
    "options_of",
    "unknown_options",
]
