"""Parameters that cannot change: JSON values with text keys, deeply frozen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError
from typing import Any, NoReturn, TypeAlias, Union

JsonValue: TypeAlias = Union[bool, int, float, str, tuple["JsonValue", ...], "FrozenMap", None]
"""What a parameter may be once frozen."""


class FrozenMap(Mapping[str, "JsonValue"]):
    """A small mapping that cannot change, hashes and pickles; keys are kept sorted."""

    __slots__ = ("pairs",)
    pairs: tuple[tuple[str, JsonValue], ...]

    def __init__(self, pairs: tuple[tuple[str, JsonValue], ...] = ()) -> None:
        object.__setattr__(self, "pairs", pairs)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> tuple[type[FrozenMap], tuple[tuple[tuple[str, JsonValue], ...]]]:
        return FrozenMap, (self.pairs,)

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        return f"FrozenMap({dict(self.pairs)!r})"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> FrozenMap:
        """Freeze a mapping of JSON values; TypeError or ValueError names the key that cannot be frozen."""
        return cls(tuple(sorted((key, freeze_value(value, key)) for key, value in values.items())))

    def __getitem__(self, key: str) -> JsonValue:
        for name, value in self.pairs:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def thaw(self) -> dict[str, object]:
        """Keyword arguments as a function receives them; sequences stay tuples."""
        return {name: thaw_value(value) for name, value in self.pairs}


def freeze_value(value: object, name: str) -> JsonValue:
    """Turn a parameter into its frozen form; lists become tuples, NumPy scalars Python numbers.

    Raises
    ------
    TypeError, ValueError
        If the value has no exact JSON form.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return _bare(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name}={value!r} is not a finite number; use None or a number instead.")
        return float(value)
    if isinstance(value, list | tuple):
        return tuple(freeze_value(item, f"{name}[{position}]") for position, item in enumerate(value))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{name} has keys that are not text; a plan can only hold text keys.")
        return FrozenMap.of(value)
    raise TypeError(
        f"{name} is a {type(value).__name__}; parameters are numbers, text, booleans, None, or lists and dicts of them "
        "(give a file by its path as text)."
    )


def _bare(value: bool | int | str | None) -> bool | int | str | None:
    """An enum member that is text or a number would come back from JSON as the bare value: keep just that."""
    if value is None or isinstance(value, bool):
        return value
    return str.__str__(value) if isinstance(value, str) else int(value)


def thaw_value(value: JsonValue) -> object:
    """The plain Python form of a frozen parameter."""
    if isinstance(value, FrozenMap):
        return value.thaw()
    if isinstance(value, tuple):
        return tuple(thaw_value(item) for item in value)
    return value


def encode_frozen(value: object) -> object:
    """Hook of msgspec's encoders of documents that hold frozen parameters."""
    if isinstance(value, FrozenMap):
        return value.thaw()
    raise NotImplementedError(f"{type(value).__name__} has no place in a document")  # msgspec's contract for hooks


def decode_frozen(wanted: type[Any], value: object) -> object:
    """Hook of msgspec's decoders of documents that hold frozen parameters."""
    if wanted is FrozenMap and isinstance(value, dict):
        return FrozenMap.of(value)
    raise NotImplementedError(f"no decoder for {wanted}")  # msgspec's contract for hooks


__all__ = ["FrozenMap", "JsonValue", "decode_frozen", "encode_frozen", "freeze_value", "thaw_value"]
