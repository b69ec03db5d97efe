"""Plates described by names of files, or by a table of planes. Vendors' metadata are not read here."""
