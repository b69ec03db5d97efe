"""``python -m openhcs_dagster.cli`` is ``openhcs-dagster``."""

from openhcs_dagster.cli import main

main()
