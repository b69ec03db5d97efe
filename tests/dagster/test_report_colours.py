"""The report's colours for people who see no green: about one man in twenty."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from openhcs_dagster.report.colours import heat_colour
from openhcs_dagster.report.conditions import PALEST, ROLE_COLOURS, UNSHADED
from openhcs_dagster.report.pictures import COLOURS
from openhcs_engine.model.plate_map import WellRole

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""Of linear RGB. *Source*: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009)
1291-1298, severity 1.0."""
TOLD_APART = 10.0
"""CIEDE2000 between colours side by side; 1 is about what can be seen at all."""


def seen(colour: str) -> NDArray[np.float64]:
    """What a person with deuteranopia sees of ``#rrggbb``, in CIELAB."""
    encoded = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    simulated = np.clip(DEUTERANOPIA @ linear, 0, 1)
    encoded = np.where(simulated <= 0.0031308, simulated * 12.92, 1.055 * simulated ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(encoded))


def difference(one: str, other: str) -> float:
    """CIEDE2000 of two colours as they are seen."""
    return float(deltaE_ciede2000(seen(one), seen(other)))


def test_the_simulation_takes_green_from_red() -> None:
    """Grey stays grey; a green and an ochre that differ by 66 for others do not for them (so the test can fail)."""
    assert difference("#808080", "#808080") == 0
    np.testing.assert_allclose(seen("#808080")[1:], 0, atol=0.5)
    assert difference("#7a8b2a", "#b07a22") < TOLD_APART


SETS: Mapping[str, Mapping[str, str]] = {
    "states": {str(state): colour for state, colour in COLOURS.items()},
    "roles": {str(role): colour for role, colour in ROLE_COLOURS.items()} | {"unshaded": UNSHADED},
    "roles beside the lowest dose": {
        str(role): colour for role, colour in ROLE_COLOURS.items() if role not in (WellRole.SAMPLE, WellRole.EMPTY)
    }
    | {"palest": PALEST, "unshaded": UNSHADED},
}


@pytest.mark.parametrize("colours", SETS.values(), ids=SETS.keys())
def test_any_two_classes_are_told_apart(colours: Mapping[str, str]) -> None:
    """Wells of any two classes may lie side by side."""
    near = {pair: difference(*map(colours.__getitem__, pair)) for pair in combinations(colours, 2)}

    assert {pair: value for pair, value in near.items() if value < TOLD_APART} == {}


def test_a_heat_map_gets_lighter_for_them_too() -> None:
    """What is read off a heat map is its lightness."""
    lightness = [seen(heat_colour(part))[0] for part in np.linspace(0, 1, 11)]

    assert all(higher - lower > 3 for lower, higher in pairwise(lightness))
