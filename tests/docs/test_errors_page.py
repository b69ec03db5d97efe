"""The page on errors: every class has an anchor, a cause and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from openhcs_dagster.catalogue import catalogue
from openhcs_dagster.storage import codecs
from openhcs_dagster.ui import serving
from openhcs_engine import errors
from openhcs_engine.errors import OpenHCSError
from tests.docs.pages import SOURCE

PAGE = SOURCE / "errors.rst"
HOMES = {module.__name__ for module in (errors, catalogue, codecs, serving)}
"""Modules that define errors which persons may see."""


def classes(base: type[OpenHCSError] = OpenHCSError) -> Iterator[type[OpenHCSError]]:
    """Every class below ``base`` that persons may see."""
    for child in base.__subclasses__():
        if child.__module__ in HOMES:
            yield child
            yield from classes(child)


LEAVES = [found for found in classes() if not list(classes(found))]


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_every_error_says_its_cause_and_remedy(error: type[OpenHCSError]) -> None:
    """Below its own heading, which has a label that other pages can name."""
    name = error.__name__
    section = re.search(
        rf"^\.\. _error-{name.lower()}:\n\n{name}\n~{{{len(name)}}}\n\n\*Cause\.\* .+?\n\n\*Remedy\.\* .+?\n(\n|\Z)",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert section, f"{PAGE.name} has no section {name} with label, cause and remedy"


def test_the_page_names_no_error_that_does_not_exist() -> None:
    """A class that was renamed would leave its section behind."""
    labelled = set(re.findall(r"^\.\. _error-.*:\n\n(\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    known = {error.__name__ for error in classes()}

    assert labelled <= known
    assert {error.__name__ for error in LEAVES} <= labelled
