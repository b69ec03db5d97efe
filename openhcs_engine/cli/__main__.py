"""``python -m openhcs_engine.cli`` is ``openhcs``."""

from openhcs_engine.cli import main

main()
