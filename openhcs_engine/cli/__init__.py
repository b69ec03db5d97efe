"""The command line of the engine. What it does is not decided here."""

from __future__ import annotations


def main() -> None:
    """Run ``openhcs``. Its commands are imported only now: others need ``cli.app`` alone."""
    from openhcs_engine.cli.commands import main as run

    run()
