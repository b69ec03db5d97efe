"""The API reference: no public name is left out."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.pages import SOURCE

SAME_OPTIONS = {"numpy", "cupy", "torch", "tensorflow", "jax", "pyclesperanto"}
"""Decorators, described once."""


@pytest.mark.parametrize("module", ["openhcs_engine", "openhcs_engine.functions", "openhcs_engine.memory"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """What a user may import from the three modules that are the engine's face."""
    text = (SOURCE / "api.rst").read_text(encoding="utf-8")
    described = {name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)}
    public = set(importlib.import_module(module).__all__)

    assert public - described - SAME_OPTIONS == set()
    assert all(f"``{name}``" in text for name in SAME_OPTIONS)
