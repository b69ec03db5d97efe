"""What ``openhcs verify`` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from openhcs_engine.cli.printing import JsonRow
from openhcs_engine.output.verification.repair import Repair
from openhcs_engine.output.verification.verify import PLATE, VerifyReport


def print_verification(report: VerifyReport) -> None:
    """What was found, well by well where something is wrong."""
    console = Console()
    for well in report.missing:
        console.print(f"[red]missing:[/] well {well} was asked for and is not there", soft_wrap=True)
    for damage in report.damaged:
        for reason in damage.reasons:
            what = "the plate" if damage.well == PLATE else f"well {damage.well}"
            console.print(f"[red]damaged:[/] {what}: {escape(reason)}", soft_wrap=True)
    for path in report.missing_fits:
        console.print(
            f"[red]missing:[/] {escape(path)}, which published wells were made with; the next run makes it again",
            soft_wrap=True,
        )
    for path in report.replaced:
        told = "was set aside by a run that is at work or was killed; the next run puts an old well back, or removes it"
        console.print(f"[yellow]replaced:[/] {escape(path)} {told}", soft_wrap=True)
    for path in report.foreign:
        console.print(f"[yellow]foreign:[/] {escape(path)} belongs to no well", soft_wrap=True)
    for path in report.other_versions:
        console.print(
            f"[yellow]note:[/] {escape(path)} was written by another version; wells that only it asks for are not "
            "looked for",
            soft_wrap=True,
        )
    if len(report.plans) > 1:
        console.print(f"[yellow]note:[/] wells were made by {len(report.plans)} different plans", soft_wrap=True)
    bad = len(report.missing) + len(report.damaged) + len(report.missing_fits)
    console.print(f"{len(report.whole)} of {len(report.expected)} wells whole, {bad} missing or damaged")


def print_repair(repair: Repair | None) -> None:
    """Which wells are gone; nothing where none was asked to go."""
    if repair is None:
        return
    console = Console()
    for well in repair.dropped:
        console.print(f"[yellow]dropped:[/] well {well}; the next run makes it again")
    for path in repair.dropped_fits:
        console.print(f"[yellow]dropped:[/] {escape(path)}; the next run makes it again", soft_wrap=True)
    if not repair.dropped:
        console.print("no well was dropped")


def verification(report: VerifyReport, repair: Repair | None) -> JsonRow:
    """An output folder as ``openhcs verify --json`` prints it; ``damaged`` is what was found before the repair."""
    left = report if repair is None else repair.report
    return {
        "ok": left.ok,
        "expected": left.expected,
        "whole": left.whole,
        "missing": left.missing,
        "damaged": [{"well": damage.well, "reasons": damage.reasons} for damage in report.damaged],
        "foreign": left.foreign,
        "replaced": left.replaced,
        "plans": left.plans,
        "other_versions": left.other_versions,
        "missing_fits": left.missing_fits,
        "dropped": None if repair is None else repair.dropped,
        "dropped_fits": None if repair is None else repair.dropped_fits,
    }
