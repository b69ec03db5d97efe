"""What it costs to hand a stack from one array library to another, beside copying it once with NumPy.

    python benchmarks/conversion.py [--planes 10 100] [--size 2048] [--repeat 5] [--json FILE]

Stacks of uint16, aligned as the engine makes them, are converted as the engine does at a boundary: the source is given
away. Everything runs in this process, with one thread a library, on the CPU. Libraries that cannot work here are left
out, and said. Ends with 1 if a conversion without a copy takes more than a millisecond.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the repository, where this is run as a script

from openhcs_engine.errors import OpenHCSError
from openhcs_engine.memory import Conversion, MemoryType, convert
from openhcs_engine.memory.conversion.aligned import address_of, empty_aligned
from openhcs_engine.memory.framework_environment import settle, worker_environment
from openhcs_engine.memory.libraries import LIBRARIES
from openhcs_engine.memory.libraries.contract import AnyArray, HostArray

TABLE_WIDTH = 116
MOST_MS = 1.0
"""What a conversion without a copy may take, whatever the size."""
SHORT_TURNS = 10
"""How many times as often conversions without a copy are timed: one of them is soon over, and easily disturbed."""
LAYOUTS = ("", ", not aligned", ", read-only")
"""Of NumPy's stacks; the last two cannot be shared with every library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One conversion of one stack."""

    source: str
    target: str
    planes: int
    megabytes: float
    route: str
    zero_copy: bool
    seconds: float
    """Median."""
    memcpy: float
    """Median seconds of one copy of the same stack by NumPy, into memory that is there already."""
    copied: str | None
    """Why it was copied."""

    @property
    def ratio(self) -> float:
        """How many copies of the stack it costs."""
        return self.seconds / self.memcpy


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all pairs, print, and return 1 if sharing is not as cheap as it must be."""
    options = _parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    working = _prepare(console)
    measured = [
        one
        for planes in options.planes
        for one in measure(working, (planes, options.size, options.size), options.repeat)
    ]
    console.print(_table(measured))
    slow = too_slow(measured)
    for sentence in slow or [f"No conversion without a copy took more than {MOST_MS:g} ms."]:
        console.print(sentence, highlight=False)
    for sentence in growths(measured):
        console.print(sentence, highlight=False)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(one), "ratio": one.ratio} for one in measured], indent=1))
    return int(bool(slow))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Conversions between array libraries beside one copy.")
    parser.add_argument("--planes", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--size", type=int, default=2048, help="edge of a plane in pixels")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    return parser.parse_args(arguments)


def _prepare(console: Console) -> list[MemoryType]:
    """Import what is installed, as a worker would; those that can work in the host's memory."""
    installed = [name for name, adapter in LIBRARIES.items() if adapter.installed()]
    os.environ.update(worker_environment(installed, None, os.environ))
    working = []
    for name in installed:
        reason = LIBRARIES[name].why_not() if LIBRARIES[name].has_cpu else "It has no CPU device."
        if reason is None:
            working.append(name)
        else:
            console.print(f"{name} is left out: {reason}", highlight=False)
    settle(working)
    return working


def measure(working: Sequence[MemoryType], shape: tuple[int, ...], repeat: int) -> Iterator[Measured]:
    """Time every pair on one shape; NumPy's stacks in several layouts."""
    stack = _filled(empty_aligned(shape, np.uint16))
    memcpy = _time_copy(stack, repeat)
    for source, target in permutations(working, 2):
        shares = source is MemoryType.NUMPY and LIBRARIES[target].dlpack
        for layout in LAYOUTS if shares else LAYOUTS[:1]:
            try:
                seconds, made = _time_conversion(_source_of(stack, source, layout), target, repeat)
            except (OpenHCSError, RuntimeError) as error:  # a device whose buffers are smaller than the stack
                print(f"{source}{layout} -> {target}, {shape[0]} planes: {error}", file=sys.stderr)
                continue
            yield Measured(
                source=f"{source}{layout}",
                target=target,
                planes=shape[0],
                megabytes=stack.nbytes / 1e6,
                route=made.route,
                zero_copy=made.zero_copy,
                seconds=seconds,
                memcpy=memcpy,
                copied=made.copied,
            )


def _filled(stack: HostArray) -> HostArray:
    stack[...] = np.arange(stack.shape[-1], dtype=stack.dtype)  # so that its pages are there
    return stack


def _source_of(stack: HostArray, source: MemoryType, layout: str) -> AnyArray:
    """The array to convert; it shares the stack's memory where it can."""
    if source is not MemoryType.NUMPY:
        return convert(stack, source).array
    if layout == ", read-only":
        frozen = stack.view()
        frozen.flags.writeable = False
        return frozen
    if layout == ", not aligned":
        raw = np.empty(stack.nbytes + 128, np.uint8)
        start = -address_of(raw) % 64 + 16  # as NumPy's own large arrays begin
        moved = np.ndarray(stack.shape, stack.dtype, raw, start)
        moved[...] = stack
        return moved
    return stack


def _time_copy(stack: HostArray, repeat: int) -> float:
    target = _filled(empty_aligned(stack.shape, stack.dtype))
    return statistics.median(_timed(lambda: np.copyto(target, stack))[0] for _ in range(repeat))


def _time_conversion(source: AnyArray, target: MemoryType, repeat: int) -> tuple[float, Conversion]:
    """Median seconds, and a conversion; the first is not counted, and only one result is there at a time."""
    made = convert(source, target, give=True)
    seconds = []
    for _ in range(repeat * SHORT_TURNS if made.zero_copy else repeat):
        del made
        took, made = _timed(lambda: convert(source, target, give=True))
        seconds.append(took)
    return statistics.median(seconds), made


def _timed(work: Callable[[], AnyArray]) -> tuple[float, AnyArray]:
    """Seconds with the garbage collector at rest, as ``timeit`` does it."""
    gc.disable()
    try:
        start = time.perf_counter()
        result = work()
        return time.perf_counter() - start, result
    finally:
        gc.enable()


def too_slow(measured: Sequence[Measured]) -> list[str]:
    """Sentences about conversions without a copy that take longer than they may."""
    return [
        f"{one.source} -> {one.target} shares {one.planes} planes, but takes {1000 * one.seconds:.2f} ms, more than "
        f"{MOST_MS:g} ms."
        for one in measured
        if one.zero_copy and 1000 * one.seconds > MOST_MS
    ]


def growths(measured: Sequence[Measured]) -> list[str]:
    """How times grow from the smallest to the largest stack, of conversions with and without a copy."""
    small, large = (pick(one.planes for one in measured) for pick in (min, max))
    sentences = []
    for zero_copy in (True, False) if small < large else ():
        seconds = {(one.source, one.target, one.planes): one.seconds for one in measured if one.zero_copy is zero_copy}
        grown = [
            seconds[source, target, large] / seconds[source, target, small]
            for source, target, planes in seconds
            if planes == small and (source, target, large) in seconds
        ]
        if grown:
            sentences.append(
                f"{'Without' if zero_copy else 'With'} a copy, {large / small:.3g} times the planes take "
                f"{statistics.median(grown):.2f} times as long (median of {len(grown)} pairs)."
            )
    return sentences


def _table(measured: Sequence[Measured]) -> Table:
    sizes = sorted({one.planes: one.megabytes for one in measured}.items())
    copies = {one.planes: one.memcpy for one in measured}
    caption = "; ".join(
        f"one copy of {planes} planes ({megabytes:.0f} MB): {1000 * copies[planes]:.1f} ms"
        for planes, megabytes in sizes
    )
    table = Table(title="Milliseconds, medians; × copy: beside one copy by NumPy", caption=caption)
    for heading in ("from", "to", "route", "zero copy"):
        table.add_column(heading, no_wrap=True)
    for planes, _ in sizes:
        table.add_column(f"{planes} planes", justify="right", no_wrap=True)
        table.add_column("× copy", justify="right", no_wrap=True)
    rows: dict[tuple[str, str], dict[int, Measured]] = {}
    for one in measured:
        rows.setdefault((one.source, one.target), {})[one.planes] = one
    for (source, target), by_planes in sorted(rows.items(), key=lambda row: not next(iter(row[1].values())).zero_copy):
        any_one = next(iter(by_planes.values()))
        numbers = [_cells(by_planes.get(planes)) for planes, _ in sizes]
        table.add_row(source, target, any_one.route, "yes" if any_one.zero_copy else "no", *sum(numbers, ()))
    return table


def _cells(one: Measured | None) -> tuple[str, str]:
    if one is None:
        return "-", "-"
    return f"{1000 * one.seconds:.3f}", f"{one.ratio:.1f}" if one.ratio >= 0.1 else f"{one.ratio:.1g}"


if __name__ == "__main__":
    sys.exit(main())
