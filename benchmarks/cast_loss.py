"""What it costs to measure the losses of a cast in which nothing is lost: time of one with, divided by one without.

    python benchmarks/cast_loss.py [--planes 4] [--size 1080] [--repeat 101]

Both cast the same stack, in turns, and each turn begins with the other one, so that a busy moment of the machine hits
both; it is CPU time, to which waiting for other programs adds nothing. Printed are the medians of each pair of pixel
types, the median of the turns' ratios, and that ratio for the least step there is: a uint16 stack is multiplied by 1,
and the result is cast. The claim is at most 1.02 for a step.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Final

import numpy as np

from openhcs_engine.memory.conversion.cast_loss import Cast
from openhcs_engine.memory.conversion.dtype import restore_dtype

PAIRS: Final = (("float64", "uint16"), ("float32", "uint16"), ("int32", "uint16"), ("float64", "float32"))
CLAIM: Final = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One pair of pixel types."""

    source: str
    wanted: str
    without_s: float
    """Median of the casts that nobody listens to."""
    measured_s: float
    """Median of the measured ones."""
    ratio: float
    """Median of the turns' ratios, of the cast alone."""
    step_ratio: float
    """The same with the least function."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planes", type=int, default=4)
    parser.add_argument("--size", type=int, default=1080, help="pixels of an edge")
    parser.add_argument("--repeat", type=int, default=101, help="turns")
    chosen = parser.parse_args(arguments)
    print(f"{'cast':<20} {'without':>10} {'measured':>10} {'ratio':>7} {'step':>7}")
    for source, wanted in PAIRS:
        found = measure(source, wanted, (chosen.planes, chosen.size, chosen.size), chosen.repeat)
        print(
            f"{source + ' to ' + wanted:<20} {found.without_s * 1e3:>7.2f} ms {found.measured_s * 1e3:>7.2f} ms "
            f"{found.ratio:>7.3f} {found.step_ratio:>7.3f}{'' if found.step_ratio <= CLAIM else f'  above {CLAIM}'}"
        )


def measure(source: str, wanted: str, shape: tuple[int, ...], repeat: int) -> Ratio:
    """Cast a stack in which nothing is lost, with and without a listener, in turns."""
    raw = np.random.default_rng(0).integers(0, 4096, shape).astype("uint16")
    stack, one = raw.astype(source), np.ones((), source)
    noted: list[Cast] = []
    casts: dict[bool, list[float]] = {True: [], False: []}
    steps: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repeat + 1):
        for listens in (turn % 2 == 0, turn % 2 == 1):
            note = noted.append if listens else None
            start = process_time()
            restore_dtype(stack, np.dtype(wanted), note)
            between = process_time()
            restore_dtype(np.multiply(raw, one, dtype=source), np.dtype(wanted), note)
            end = process_time()
            if turn:  # the first one touches the memory
                casts[listens].append(between - start)
                steps[listens].append(end - between)
    if any(cast.clipped or cast.flattened for cast in noted):
        raise AssertionError("a stack that loses something measures another thing")
    return Ratio(
        source=source,
        wanted=wanted,
        without_s=median(casts[False]),
        measured_s=median(casts[True]),
        ratio=_ratio(casts),
        step_ratio=_ratio(steps),
    )


def _ratio(times: Mapping[bool, Sequence[float]]) -> float:
    return median(measured / plain for measured, plain in zip(times[True], times[False], strict=True))


if __name__ == "__main__":
    main()
