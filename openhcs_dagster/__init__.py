"""Screening plates as Dagster assets: one graph a plate, one partition a well."""

import openhcs_engine  # noqa: F401 # which says, before Dagster is imported, where this does not run
