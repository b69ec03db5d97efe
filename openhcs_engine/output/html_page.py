"""Pages for people, from templates; jinja2 is imported only where one is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def page_template(package: str, folder: str, filters: Mapping[str, Callable[..., Any]]) -> jinja2.Template:
    """``page.html.j2`` in a folder of a package. A name that the page is not given is an error.

    All that it shows is escaped: names of wells, channels, steps, settings and files, and errors, are anybody's text.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template("page.html.j2")


__all__ = ["page_template"]
