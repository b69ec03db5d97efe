"""Screening plates as Dagster assets: one graph a plate, one partition a well. No pixel is computed here."""

import openhcs_engine  # noqa: F401 # which says, before Dagster is imported, where this does not run
