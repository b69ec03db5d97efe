"""Plate maps: what was in the wells, from grids and tables. Planes are not declared here."""
