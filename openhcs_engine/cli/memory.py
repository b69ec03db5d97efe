"""What ``openhcs memory`` prints: array libraries, devices, the ways between libraries, and what workers are born with.

Asked from packages and the driver; array libraries are imported by :func:`probe` alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openhcs_engine.compiler.devices import size
from openhcs_engine.errors import LibraryUnavailableError, MemoryConversionError
from openhcs_engine.execution.placement import WorkerDevices
from openhcs_engine.execution.runners.worker_environment import environment_of
from openhcs_engine.memory.conversion.aligned import empty_aligned
from openhcs_engine.memory.conversion.convert import Conversion, convert
from openhcs_engine.memory.conversion.routes import ROUTES, Route, Routes
from openhcs_engine.memory.devices import CPU, GPU, Device, Inventory
from openhcs_engine.memory.framework_environment import worker_environment
from openhcs_engine.memory.libraries import LIBRARIES
from openhcs_engine.memory.libraries.contract import ArrayLibrary
from openhcs_engine.memory.packages import cpu_builds, versions_of
from openhcs_engine.memory.types import MemoryType

JsonRow = dict[str, Any]  # Any: what JSON may hold

_HIDES_GPUS: Final = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS")
"""Variables by which workers without a GPU see none; a probe sees what the user can see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFacts:
    """One array library on this host."""

    memory_type: MemoryType
    versions: tuple[str, ...]
    """``distribution==version``; empty: not installed."""
    runs_on: tuple[str, ...]
    """``cpu``, ``gpu`` or both, as the library can and its build allows."""
    gives_memory_back: bool
    """False: what it took of a device is the device's again only when its process ends."""
    remark: str | None
    """What keeps it from working, or from GPUs, as a sentence; None: nothing that is known without importing it."""
    install: str | None
    """The command that installs it; None where it is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """The ways from one library to another."""

    source: MemoryType
    target: MemoryType
    routes: Routes
    """In the order in which they are tried."""
    shares_on_cpu: bool
    """Whether both are names of one memory if the array lies in the host's."""
    shares_on_gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PairProbe:
    """What became of a small array that was really converted."""

    source: MemoryType
    target: MemoryType
    conversion: Conversion | None
    """None: it was refused."""
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable of a worker's environment."""

    name: str
    value: str
    given: bool
    """True: it is set so in this environment, and stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReport:
    """All that ``openhcs memory`` knows."""

    libraries: tuple[LibraryFacts, ...]
    devices: tuple[Device, ...]
    why_no_gpu: str | None
    pairs: tuple[PairFacts, ...]
    settings: tuple[Setting, ...]
    probes: tuple[PairProbe, ...] | None = None
    """None: nothing was tried."""


def look(inventory: Inventory) -> MemoryReport:
    """Gather what can be known without importing an array library."""
    why_no_gpu = inventory.why_no_gpu()
    cpu_only = cpu_builds()
    return MemoryReport(
        libraries=tuple(_library_facts(adapter, why_no_gpu, cpu_only) for adapter in LIBRARIES.values()),
        devices=inventory.devices(),
        why_no_gpu=why_no_gpu,
        pairs=tuple(_pair_facts(source, target) for source, target in product(LIBRARIES.values(), repeat=2)),
        settings=_settings(),
    )


def probe() -> tuple[PairProbe, ...]:
    """Import every library that can work here, and convert a small stack from each to each.

    It lies in the host's memory, where the library works there. Sets variables of this process as a worker's are.
    """
    environment = worker_environment(_installed(), None, os.environ)
    os.environ.update({name: value for name, value in environment.items() if name not in _HIDES_GPUS})
    refusals = {name: adapter.why_not() for name, adapter in LIBRARIES.items()}
    return tuple(_probe_pair(source, target, refusals) for source, target in product(MemoryType, repeat=2))


def memory_document(report: MemoryReport) -> JsonRow:
    """The report as ``openhcs memory --json`` prints it; ``probes`` is null where nothing was tried."""
    return {
        "libraries": report.libraries,
        "devices": report.devices,
        "why_no_gpu": report.why_no_gpu,
        "routes": report.pairs,
        "worker_environment": report.settings,
        "probes": None if report.probes is None else [_probe_row(probed) for probed in report.probes],
    }


def print_memory(report: MemoryReport) -> None:
    """The report as a person reads it."""
    console = Console()
    console.print(_libraries_table(report.libraries))
    for facts in report.libraries:
        for sentence in (facts.remark, facts.install and f"Install it: {facts.install}"):
            if sentence:
                console.print(f"  [yellow]{facts.memory_type}:[/] {escape(sentence)}", soft_wrap=True, highlight=False)
    _print_devices(console, report)
    notes = _Footnotes.of(console)
    console.print(_routes_table(report, notes))
    console.print(notes.legend(), soft_wrap=True, highlight=False)
    _print_refusals(console, report.probes or ())
    console.print("\n[italic]What workers are born with[/], for all these libraries, where they hold no GPU")
    for setting in report.settings:
        line = f"  {setting.name}={setting.value}{'  (yours)' if setting.given else ''}"
        console.print(escape(line), soft_wrap=True, highlight=False)


def _library_facts(adapter: ArrayLibrary, why_no_gpu: str | None, cpu_only: Mapping[MemoryType, str]) -> LibraryFacts:
    memory_type = adapter.memory_type
    installed = adapter.installed()
    able = {CPU: adapter.has_cpu, GPU: memory_type is not MemoryType.NUMPY and memory_type not in cpu_only}
    remark = None
    if installed and memory_type in cpu_only:
        remark = f"{cpu_only[memory_type]}."
    elif installed and adapter.needs_gpu and why_no_gpu is not None:
        remark = f"It needs a GPU. {why_no_gpu}"
    return LibraryFacts(
        memory_type=memory_type,
        versions=versions_of(memory_type) if installed else (),
        runs_on=tuple(kind for kind, can in able.items() if can),
        gives_memory_back=adapter.releases_memory,
        remark=remark,
        install=None if installed else f"pip install 'openhcs-dagster[{adapter.extra}]'",
    )


def _pair_facts(source: ArrayLibrary, target: ArrayLibrary) -> PairFacts:
    routes = ROUTES[source.memory_type][target.memory_type]
    shares = not {Route.SAME, Route.DLPACK}.isdisjoint(routes)
    return PairFacts(
        source=source.memory_type,
        target=target.memory_type,
        routes=routes,
        shares_on_cpu=shares and source.has_cpu and target.has_cpu,
        shares_on_gpu=shares and MemoryType.NUMPY not in (source.memory_type, target.memory_type),
    )


def _installed() -> list[MemoryType]:
    return [name for name, adapter in LIBRARIES.items() if adapter.installed()]


def _settings() -> tuple[Setting, ...]:
    """What the libraries ask for, and what else a worker's environment has that this one has not."""
    worker = environment_of(WorkerDevices(), _installed())
    asked = set(worker_environment(_installed(), None, {}))
    changed = {name for name, value in worker.items() if os.environ.get(name) != value}
    return tuple(
        Setting(name=name, value=worker[name], given=name not in changed)
        for name in sorted((asked | changed) - {"PYTHONPATH"})
        if name in worker
    )


def _probe_pair(source: MemoryType, target: MemoryType, refusals: Mapping[MemoryType, str | None]) -> PairProbe:
    for name in (source, target):
        if (reason := refusals[name]) is not None:
            return PairProbe(source=source, target=target, conversion=None, refusal=reason)
    stack = empty_aligned((2, 3, 4), np.uint16)
    stack[...] = np.arange(stack.size).reshape(stack.shape)
    try:
        conversion = convert(convert(stack, source).array, target, give=True)
    except (MemoryConversionError, LibraryUnavailableError) as error:
        return PairProbe(source=source, target=target, conversion=None, refusal=str(error))
    if not np.array_equal(LIBRARIES[target].to_host(conversion.array), stack):
        return PairProbe(source=source, target=target, conversion=None, refusal="Other values arrived than were sent.")
    return PairProbe(source=source, target=target, conversion=conversion)


def _probe_row(probed: PairProbe) -> JsonRow:
    made = probed.conversion
    return {
        "source": probed.source,
        "target": probed.target,
        "route": made and made.route,
        "zero_copy": made and made.zero_copy,
        "device": made and made.device,
        "copied": made and made.copied,
        "refusal": probed.refusal,
    }


def _libraries_table(libraries: Sequence[LibraryFacts]) -> Table:
    table = Table("library", "installed", "runs on", "gives memory back", title="Array libraries", title_justify="left")
    for facts in libraries:
        table.add_row(
            facts.memory_type,
            escape(", ".join(facts.versions)) or "[yellow]no[/]",
            ", ".join(facts.runs_on),
            "when asked" if facts.gives_memory_back else "when its process ends",
        )
    return table


def _print_devices(console: Console, report: MemoryReport) -> None:
    console.print("\n[italic]Devices[/]")
    kinds = Counter((device.kind, device.memory_bytes) for device in report.devices if device.kind == CPU)
    for device in report.devices:
        if device.kind != CPU:
            line = f"  {device.label}: {device.name}, {size(device.memory_bytes)} ({device.uuid})"
            console.print(escape(line), soft_wrap=True, highlight=False)
    for (_, nbytes), count in kinds.items():
        slots = "1 slot" if count == 1 else f"{count} slots"
        console.print(f"  cpu: {slots}, {size(nbytes)} each", highlight=False)
    if report.why_no_gpu is not None:
        console.print(f"  [yellow]{escape(report.why_no_gpu)}[/]", soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class _Footnotes:
    """What stands behind a way in the table of routes."""

    shared: str
    shared_on_gpu: str
    copied: str

    @classmethod
    def of(cls, console: Console) -> _Footnotes:
        """Signs that the terminal has."""
        return cls("●", "◐", "○") if console.encoding.lower().startswith("utf") else cls("=", "g", "+")

    def legend(self) -> str:
        """What the signs mean."""
        return (
            f"{self.shared} zero copy   {self.shared_on_gpu} zero copy, on a GPU only   {self.copied} copied\n"
            "If DLPack fails, then (*) by the CUDA array interface, at last by the host's memory."
        )


def _routes_table(report: MemoryReport, notes: _Footnotes) -> Table:
    """From each library (rows) to each (columns): the way that is tried first, or the one that a probe went."""
    measured = report.probes is not None
    title = "\nWays from row to column" + (", as measured" if measured else "")
    # Without a frame it fits into 80 columns.
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in ("", *MemoryType):
        table.add_column(heading, no_wrap=True)
    cells = [_probed_cell(one, notes) for one in report.probes or ()] or [_cell(one, notes) for one in report.pairs]
    for row, source in enumerate(MemoryType):
        table.add_row(f"[bold]{source}[/]", *cells[row * len(MemoryType) : (row + 1) * len(MemoryType)])
    return table


def _cell(pair: PairFacts, notes: _Footnotes) -> str:
    sign = notes.copied
    if pair.shares_on_cpu:
        sign = f"[green]{notes.shared}[/]"
    elif pair.shares_on_gpu:
        sign = f"[green]{notes.shared_on_gpu}[/]"
    return f"{_SHORT[pair.routes[0]]}{'*' if Route.CUDA in pair.routes else ''} {sign}"


def _probed_cell(probed: PairProbe, notes: _Footnotes) -> str:
    made = probed.conversion
    if made is None:
        return "[yellow]-[/]"
    return f"{_SHORT[made.route]} {f'[green]{notes.shared}[/]' if made.zero_copy else notes.copied}"


def _print_refusals(console: Console, probes: Sequence[PairProbe]) -> None:
    for refusal, count in Counter(probed.refusal for probed in probes if probed.refusal).items():
        pairs = "1 pair" if count == 1 else f"{count} pairs"
        console.print(f"[yellow]- refused[/] ({pairs}): {escape(refusal)}", soft_wrap=True, highlight=False)


_SHORT: Final = {Route.SAME: "same", Route.DLPACK: "DLPack", Route.CUDA: "CUDA", Route.HOST: "host"}


__all__ = ["MemoryReport", "PairFacts", "look", "memory_document", "print_memory", "probe"]
