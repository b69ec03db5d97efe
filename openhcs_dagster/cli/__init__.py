"""The command line of a deployment. What it does is not decided here."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run ``openhcs-dagster``. Its commands are imported only now: others need ``cli.screen`` alone."""
    from openhcs_dagster.cli.commands import main as run

    run(arguments)
