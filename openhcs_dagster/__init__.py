"""Screening plates as Dagster assets: one graph a plate, one partition a well."""
