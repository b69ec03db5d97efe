"""What measurements are called: as CellProfiler writes them, one schema, and each with a row in the documentation."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_engine.functions import measure
from openhcs_engine.functions.measurement.cellprofiler import compact_labels
from openhcs_engine.functions.measurement.columns import (
    CP_MEASURE_FEATURES,
    DEFAULT_FEATURES,
    FEATURES,
    MEASUREMENTS,
    column_channels,
    source_of,
)
from openhcs_engine.functions.measurement.objects import objects_of
from tests.engine.functions.measurement.planted import awkward, pixels

REPO = Path(__file__).resolve().parents[4]
PAGE = REPO / "docs" / "source" / "measurements.rst"
needs_cp_measure = pytest.mark.skipif(
    find_spec("cp_measure") is None, reason="cp_measure is not installed (the extra 'measure')"
)


def columns(labels: Any, *channels: str, **parameters: Any) -> list[str]:
    """Names of a table's columns."""
    stack = np.stack([pixels()] * len(channels))
    keys = [{"site": 1, "channel": number} for number in range(1, len(channels) + 1)]
    given = {"plane_keys": keys, "channel_names": channels, "channel_numbers": range(1, len(channels) + 1)}
    _, table = measure(stack, labels, **given, **parameters)
    return list(table.column_names)


def names(feature: str, channel: str, scale: str = "") -> set[str]:
    """The columns of one group, without the objects' name."""
    return {each.column(channel, scale) for each in MEASUREMENTS if each.feature == feature}


def test_shape_zernike_intensity_and_location_are_named_as_in_cellprofilers_export(data_dir: Path) -> None:
    """The header of examplehuman's Nuclei.csv, whose columns lack the object: all of it, and no other column of ours.

    ``ConvexArea`` came with CellProfiler 4.1, after that file was written.
    """
    with (data_dir / "examplehuman" / "Nuclei.csv").open(newline="") as file:
        header = set(next(csv.reader(file)))
    theirs = {name for name in header if name.startswith(("AreaShape_", "Intensity_", "Location_", "Number_"))}

    ours = {
        name
        for feature in ("shape", "zernike", "intensity", "location", "count")
        for channel in ("DNA", "PH3")
        for name in names(feature, channel)
    }
    assert ours - theirs == {"AreaShape_ConvexArea"} and theirs <= ours


def test_the_other_groups_have_cellprofilers_documented_names() -> None:
    """Object and group, measurement, channel, scale."""
    texture = names("texture", "DNA", "3")
    assert "Texture_AngularSecondMoment_DNA_3_00_256" in texture and "Texture_InfoMeas2_DNA_3_03_256" in texture
    assert len(texture) == 13 * 4
    assert names("granularity", "DNA") == {f"Granularity_{step}_DNA" for step in range(1, 17)}
    assert names("radial_distribution", "DNA") == {
        f"RadialDistribution_{name}_DNA_{ring}of4"
        for name in ("FracAtD", "MeanFrac", "RadialCV")
        for ring in range(1, 5)
    }  # fmt: skip
    neighbours = {
        "AngleBetweenNeighbors", "FirstClosestDistance", "FirstClosestObjectNumber", "NumberOfNeighbors",
        "PercentTouching", "SecondClosestDistance", "SecondClosestObjectNumber",
    }  # fmt: skip
    for scale in ("Adjacent", "Expanded", "5"):
        assert names("neighbors", "", scale) == {f"Neighbors_{name}_{scale}" for name in neighbours}


@pytest.mark.parametrize(
    ("reach", "scale"), [("adjacent", "Adjacent"), ("expanded", "Expanded"), (4, "4"), ("adjacent", "Adjacent")]
)
def test_the_table_has_the_objects_name_in_front_and_the_default_groups(reach: str | int, scale: str) -> None:
    """Of both channels, in the order of the measurements; the same without an object."""
    found = columns(awkward(), "DNA", "PH3", objects="cells", neighbors=reach)

    expected = ["object", "site"]
    for each in MEASUREMENTS:
        if each.feature in DEFAULT_FEATURES:
            channels = ("DNA", "PH3") if each.has_channel else ("",)
            expected += [f"Cells_{each.column(channel, scale)}" for channel in channels]
    assert found == expected
    assert columns(np.zeros((64, 60), int), "DNA", "PH3", objects="cells", neighbors=reach) == found


def test_channels_names_are_letters_and_digits() -> None:
    """So that a name's parts stay apart; two that would be one are told apart by their numbers."""
    assert column_channels(["Channel 1", "Cy-5", "DAPI"], [1, 2, 3]) == {1: "Channel1", 2: "Cy5", 3: "DAPI"}
    assert column_channels(["Cy5", "Cy-5", "µ"], [1, 2, 4]) == {1: "Cy5w1", 2: "Cy5w2", 4: "w4"}


def test_single_measurements_and_channels_can_be_chosen() -> None:
    """By their names without object and channel; an absent channel has nulls, so that all wells have one schema."""
    found = columns(awkward(), "DNA", "PH3", features=["AreaShape_Area", "Intensity_MeanIntensity"], channels=["PH3"])
    assert found == ["object", "site", "Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_PH3"]

    _, table = measure(
        pixels()[None], awkward(), features="Intensity_MeanIntensity", channels=["DNA", 2],
        plane_keys=[{"site": 1, "channel": 1}], channel_names=["DNA", "PH3"], channel_numbers=[1, 2],
    )  # fmt: skip
    assert table.column("Nuclei_Intensity_MeanIntensity_PH3").null_count == table.num_rows > 0
    assert table.column("Nuclei_Intensity_MeanIntensity_DNA").null_count == 0


@pytest.mark.parametrize("chosen", [each.key for each in MEASUREMENTS if each.feature in DEFAULT_FEATURES])
def test_a_measurement_alone_is_what_it_is_among_all(chosen: str) -> None:
    """Whatever else is left out."""
    _, all_of_them = measure(pixels()[None], awkward())
    _, alone = measure(pixels()[None], awkward(), features=[chosen])

    assert alone.num_columns == 2 and alone.equals(all_of_them.select(alone.column_names))


def test_scikit_images_own_properties_keep_their_names_and_values() -> None:
    """Those that CellProfiler has no name for."""
    from skimage.measure import regionprops_table

    _, table = measure(pixels()[None], awkward(), features="regionprops")
    properties = ("area_filled", "feret_diameter_max", "perimeter_crofton")
    theirs = regionprops_table(awkward(), properties=properties)

    assert table.column_names == ["object", *(f"Nuclei_AreaShape_{name}" for name in properties)]
    for name in properties:
        assert table.column(f"Nuclei_AreaShape_{name}").to_pylist() == pytest.approx(theirs[name].tolist())


@needs_cp_measure
def test_the_other_groups_are_cp_measures() -> None:
    """Column for column, with gaps in the labels; what it leaves undefined is null."""
    from cp_measure.bulk import get_core_measurements

    labels = np.where(awkward() == 4, 0, awkward())
    plane = (pixels() % 4096).astype(np.uint16)
    core, compact = get_core_measurements(), compact_labels(objects_of(labels))
    expected = {f"AreaShape_{name}": values for name, values in core["zernike"](compact, None).items()}
    for key, values in core["texture"](compact, plane / 4095).items():
        name, scale, direction, levels = key.split("_")
        expected[f"Texture_{name}_DNA_{scale}_{direction}_{levels}"] = values
    for key, values in core["granularity"](compact, plane.astype(float)).items():
        expected[f"{key}_DNA"] = values
    with np.errstate(all="ignore"):
        for key, values in core["radial_distribution"](compact, plane.astype(float)).items():
            group, name, ring = key.split("_")
            expected[f"{group}_{name}_DNA_{ring}"] = values

    _, table = measure(
        plane[None], labels, features=CP_MEASURE_FEATURES, maximum=4095, plane_keys=[{"site": 1, "channel": 1}],
        channel_names=["DNA"], channel_numbers=[1],
    )  # fmt: skip
    found = {name.removeprefix("Nuclei_"): table.column(name).to_pylist() for name in table.column_names[2:]}
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(
            np.array(found[name], float), np.where(np.isfinite(values), values, np.nan), rtol=1e-12
        )
    _, nothing = measure(
        plane[None], 0 * labels, features=CP_MEASURE_FEATURES, maximum=4095, plane_keys=[{"site": 1, "channel": 1}],
        channel_names=["DNA"], channel_numbers=[1],
    )  # fmt: skip
    assert nothing.schema == table.schema and nothing.num_rows == 0


@needs_cp_measure
def test_texture_is_measured_with_the_grey_levels_of_the_camera() -> None:
    """12 bits in a 16-bit file, said or not: 16 levels or 256; and a pixel above what was said fails the site."""
    plane = (pixels() % 4096).astype(np.uint16)
    entropy = [
        measure(plane[None], awkward(), features="Texture_Entropy_00_256", maximum=maximum)[1]
        .column("Nuclei_Texture_Entropy_1_3_00_256")
        .to_pylist()[4]
        for maximum in (4095, 65535)
    ]

    assert entropy[0] > entropy[1] + 1
    with pytest.raises(ValueError, match="no pixel is above maximum=255"):
        measure(plane[None], awkward(), features="texture", maximum=255)


@pytest.mark.skipif(find_spec("pycytominer") is None, reason="pycytominer is not installed")
def test_pycytominer_finds_the_features() -> None:
    """All of ours, and no coordinate."""
    import pandas
    from pycytominer.cyto_utils import infer_cp_features

    _, table = measure(pixels()[None], awkward())
    features = infer_cp_features(pandas.DataFrame(table.to_pydict()))

    assert set(table.column_names) - set(features) == {"object"}


def test_each_measurement_has_a_row_in_the_documentation() -> None:
    """Its group, name, unit, source and what it is; the table is made of the declarations themselves."""
    page = PAGE.read_text()

    for each in MEASUREMENTS:
        name = each.column("<Channel>", "<scale>")
        assert f"   * - ``{name}``\n     - {each.unit or '–'}\n     - {source_of(each)}\n     - {each.about}\n" in page
    for feature in FEATURES:
        assert f"``{feature}``" in page


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.ones((1, 5, 5), int), "labels of shape (1, 5, 5) for a stack of shape (1, 64, 60)"),
        (np.ones((1, 64, 60)), "whole numbers"),
        (np.full((1, 64, 60), -1), "counted from 1"),
    ],
)
def test_labels_that_are_none_are_refused(labels: Any, sentence: str) -> None:
    """With what they are."""
    with pytest.raises(ValueError) as refused:
        measure(pixels()[None], labels)
    assert sentence in str(refused.value)


def test_labels_that_differ_between_channels_of_a_place_are_refused() -> None:
    """An object would have two shapes."""
    with pytest.raises(ValueError, match="other labels for one channel than for another"):
        measure(np.stack([pixels()] * 2), np.stack([awkward(), 0 * awkward()]))


def test_planes_of_several_sites_have_their_rows_below_each_other() -> None:
    """Each with its site, and its own labels."""
    keys = [{"site": site, "channel": channel} for site in (3, 5) for channel in (1, 2)]
    labels = np.stack([awkward()] * 2 + [np.where(awkward() == 2, 2, 0)] * 2)
    _, table = measure(np.stack([pixels()] * 4), labels, plane_keys=keys, features="AreaShape_Area")

    assert table.column("site").to_pylist() == [3] * 13 + [5]
    assert table.column("object").to_pylist() == [*range(1, 14), 2]
