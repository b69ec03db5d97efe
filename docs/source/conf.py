"""Sphinx configuration."""

from importlib.metadata import version as package_version

project = "openhcs-dagster"
author = "the openhcs-dagster authors"
version = release = package_version("openhcs-dagster")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "openhcs-dagster"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
nitpicky = False
