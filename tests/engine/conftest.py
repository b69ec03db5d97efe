"""Small synthetic plates, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

SMALL = SyntheticPlate(name="small", rows=2, columns=3, sites=2, z=3, shape=(40, 48), objects_per_megapixel=2000)
"""Six wells, two sites, two channels, three planes."""


@pytest.fixture(scope="session")
def small_plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole plate; read only."""
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", SMALL)
