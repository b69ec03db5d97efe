"""Sphinx configuration."""

import sys
from importlib.metadata import version as package_version
from pathlib import Path

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


def setup(app):
    """Put the table of built-in functions into its page."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tools.draw_libraries import in_page

    def fill(app, name, source):
        if name == "functions":
            source[0] = in_page(source[0])

    app.connect("source-read", fill)
