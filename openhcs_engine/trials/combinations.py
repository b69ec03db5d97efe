"""Which values of which settings are tried: every combination of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openhcs_engine.errors import OptionError

MOST: Final = 24
"""Combinations that one page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One value of each setting that is varied."""

    values: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """``threshold=otsu, split=true``; what nothing was varied of is called so."""
        return ", ".join(f"{name}={value}" for name, value in self.values) or "as it is"

    def settings(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of the pipeline."""
        return {**fixed, **dict(self.values)}


def combinations_of(texts: Sequence[str], fixed: Mapping[str, object]) -> tuple[Combination, ...]:
    """Every combination of what is varied, the first setting slowest; one without values if nothing is.

    Parameters
    ----------
    texts
        As a command line has them: ``segment_nuclei.threshold=otsu,local,800``. Where a value has commas itself, the
        values are separated by ``;``.
    fixed
        Settings that all combinations have.

    Raises
    ------
    OptionError
        If something is no setting with its values, is given twice, or makes more than 24 combinations; all of it in
        one message.
    """
    wrong: list[str] = []
    varied: dict[str, list[str]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        name = name.strip()
        values = [value.strip() for value in listed.split(";" if ";" in listed else ",")]
        if not (name and equals and all(values)):
            wrong.append(f"--vary {text} names no setting and its values; write --vary NAME=VALUE,VALUE.")
        elif name in varied:
            wrong.append(f"--vary {name} is given twice; write all values behind one.")
        elif name in fixed:
            wrong.append(f"{name} is given with --set and with --vary; give one of them.")
        elif twice := sorted({value for value in values if values.count(value) > 1}):
            wrong.append(f"--vary {text} has the value {', '.join(twice)} twice.")
        else:
            varied[name] = values
    count = math.prod(map(len, varied.values()))
    if count > MOST:
        product = " × ".join(str(len(values)) for values in varied.values())
        how = f"{product} = {count}" if len(varied) > 1 else str(count)
        wrong.append(f"--vary makes {how} combinations, but a page shows at most {MOST}; leave some values out.")
    if wrong:
        raise OptionError(" ".join(wrong), option="vary")
    return tuple(
        Combination(values=tuple(zip(varied, chosen, strict=True))) for chosen in itertools.product(*varied.values())
    )


__all__ = ["MOST", "Combination", "combinations_of"]
