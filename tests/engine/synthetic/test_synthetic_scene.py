"""Synthetic plates with a scene: what is planted is known to the pixel, in every layout."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray

from openhcs_engine.errors import OptionError
from openhcs_engine.microscopes import detect_microscope
from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.raw.array_plane import read_array_plane
from openhcs_engine.synthetic import (
    LAYOUTS,
    SyntheticImages,
    SyntheticPlate,
    SyntheticScene,
    truth_folder,
    truth_path,
    write_imagexpress,
)
from openhcs_engine.synthetic.drawing import OFFSET, draw
from openhcs_engine.synthetic.light import light

ndimage: Any = pytest.importorskip("scipy.ndimage")

SPOTS = SyntheticPlate(rows=1, columns=3, sites=3, z=2, timepoints=2, shape=(64, 80), seed=7)
BYTES = {
    "imagexpress": "ec66489194df1b9edb92faf876a037b0c77a0ea86546c778e26d1f7728343a30",
    "phenix": "3a6e8ae52a23b5fa155f9ff58db743f4de338dee95a64642d9f72f73f7844981",
    "cellvoyager": "24f2b1d28e914a3b3aa6c83a5b1d350c80063104ea70623cff029175259f6221",
    "omezarr": "558c0e5bb63069327b9538855aa26b5a4490d96994976480316f506f73a87e2a",
}
"""Digests of plates without a scene and their truth, from before there were scenes."""
FLAT = SyntheticPlate(rows=1, columns=3, sites=2, z=1, seed=3, scene=SyntheticScene(vignette=0.35))
EVERYTHING = SyntheticScene(overlap=0.2, jitter_px=7.5, touching=1.7, cells=True, vignette=0.35)
FULL = SyntheticPlate(rows=1, columns=3, sites=4, z=1, seed=5, scene=EVERYTHING, channels=("DAPI", "GFP", "Cy5"))


def table(folder: Path, name: str) -> pl.DataFrame:
    """A table of the truth, where the document says that it lies."""
    stated = json.loads(truth_path(folder).read_text())["scene"]["tables"][name]
    return pl.read_parquet(folder.parent / stated["path"])


def plane(spec: SyntheticPlate, well: str, site: int, channel: int = 1) -> NDArray[np.float64]:
    """One plane without z."""
    return SyntheticImages(spec).plane(ImageKey(well, site, channel, 1, 1)).astype(float)


def filled(spec: SyntheticPlate, well: str, site: int) -> NDArray[np.bool_]:
    """What a threshold finds in a plane of even light, after smoothing by one pixel."""
    pixels = ndimage.gaussian_filter(plane(spec, well, site), 0.7)
    found: NDArray[np.bool_] = pixels > OFFSET + 300 + 1900
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_scene_the_bytes_are_those_of_before(tmp_path: Path, layout: str) -> None:
    """Every file of the plate and its truth, by name and content."""
    LAYOUTS[layout](tmp_path / "plate", SPOTS)
    digest = hashlib.sha256()
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            name = path.relative_to(tmp_path).as_posix().encode()
            digest.update(name + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert digest.hexdigest() == BYTES[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_planes_and_the_stage_positions_of_the_scene(tmp_path: Path, layout: str) -> None:
    """Readers find the generator's pixels, and the stage's positions, not the true ones, where the layout has any."""
    spec = replace(FULL, columns=1)
    folder = LAYOUTS[layout](tmp_path / "plate", spec)
    detected = detect_microscope(folder)
    index = detected.read_plate()[1]

    images = SyntheticImages(spec)
    assert {found.key for found in index} == set(spec.image_keys())
    for found in index:
        read = (
            read_array_plane(folder, str(found.path), found.array_index)
            if found.array_index
            else tifffile.imread(folder / str(found.path))
        )
        np.testing.assert_array_equal(read, images.plane(found.key))
    positions = {found.site: (found.y_um, found.x_um) for found in detected.read_positions(index)}
    sites = table(folder, "sites")
    stage = dict(zip(sites["site"], zip(sites["stage_y_px"], sites["stage_x_px"], strict=True), strict=True))
    assert stage[4] == pytest.approx((256 * 0.8, 256 * 0.8))
    if layout == "omezarr":
        assert not positions  # it has no stage positions
        return
    for site, (y, x) in positions.items():
        first_y, first_x = positions[1]
        across, down = (x or 0) - (first_x or 0), abs((y or 0) - (first_y or 0))
        assert (down, across) == pytest.approx([edge * spec.pixel_size_um for edge in stage[site]], abs=0.11)


def test_nuclei_of_a_scene_do_not_touch_and_are_counted_exactly() -> None:
    """A threshold and connected components find each planted nucleus once; none lies at a border."""
    spec = replace(FLAT, scene=SyntheticScene(vignette=0.0), z=1)
    for well in spec.wells:
        truth = SyntheticImages(spec).labels(well, 1)
        labels, count = ndimage.label(filled(spec, well, 1))
        planted = draw(spec, well, 1).nuclei_seen()
        assert count == len(planted) == len(np.unique(truth)) - 1 == len(SyntheticImages(spec).objects(well, 1))
        assert not any(nucleus.is_cut or nucleus.is_at_border for nucleus in planted)
        dice = 2 * np.sum((labels > 0) & (truth > 0)) / (np.sum(labels > 0) + np.sum(truth > 0))
        assert dice > 0.97
        areas = [math.pi * nucleus.planted.outline.mean_radius**2 for nucleus in planted]
        assert [nucleus.area_px for nucleus in planted] == pytest.approx(areas, rel=0.05)


@pytest.mark.parametrize("radii", [1.2, 1.6, 1.7, 1.75])
def test_touching_nuclei_come_in_pairs_at_the_distance_that_is_stated(radii: float) -> None:
    """Each pair is one component of the pixels, and its centres are so many mean radii apart."""
    spec = replace(FLAT, sites=1, shape=(512, 512), scene=SyntheticScene(touching=radii))
    for well in spec.wells:
        planted = [nucleus.planted for nucleus in draw(spec, well, 1).nuclei_seen()]
        groups: dict[int, list[Any]] = {}
        for nucleus in planted:
            groups.setdefault(nucleus.group, []).append(nucleus.outline)
        pairs = [group for group in groups.values() if len(group) == 2]
        assert len(planted) - 2 * len(pairs) <= 1  # an odd one stands alone
        for first, second in pairs:
            distance = math.hypot(first.y - second.y, first.x - second.x)
            assert distance == pytest.approx(radii * (first.mean_radius + second.mean_radius) / 2)
        labels = SyntheticImages(spec).labels(well, 1)
        assert ndimage.label(labels > 0, np.ones((3, 3)))[1] == len(groups)
        assert len(np.unique(labels)) - 1 == len(planted)
        assert all(nucleus.area_px > 60 for nucleus in draw(spec, well, 1).nuclei_seen())


def test_overlapping_sites_are_windows_of_one_scene() -> None:
    """Without jitter the noiseless pixels of two neighbours are equal where they overlap, and their noise is not."""
    scene = SyntheticScene(overlap=0.25, cells=True)
    spec = replace(FULL, sites=4, scene=scene)
    first, right, below = (draw(spec, "A02", site) for site in (1, 2, 3))
    for channel in range(3):
        np.testing.assert_allclose(
            first.signal(channel, 1)[:, -64:], right.signal(channel, 1)[:, :64], rtol=1e-4, atol=1e-2
        )
        np.testing.assert_allclose(first.signal(channel, 1)[-64:], below.signal(channel, 1)[:64], rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(first.nuclei[:, -64:], right.nuclei[:, :64])
    assert first.nuclei[:, -64:].any()
    assert (plane(spec, "A02", 1)[:, -64:] != plane(spec, "A02", 2)[:, :64]).any()


def test_jitter_is_in_the_truth_alone(tmp_path: Path) -> None:
    """A nucleus that two sites show lies at one position of the well by the true ones; these are off the stage's."""
    folder = write_imagexpress(tmp_path / "plate", FULL)
    nuclei, sites = table(folder, "nuclei"), table(folder, "sites")
    joined = nuclei.join(sites, on=["well", "site"], suffix="_site").with_columns(
        y=pl.col("y_px") + pl.col("y_px_site"), x=pl.col("x_px") + pl.col("x_px_site")
    )
    spread = joined.group_by("well", "object").agg(pl.len(), y=pl.max("y") - pl.min("y"), x=pl.max("x") - pl.min("x"))
    assert spread["len"].max() > 1  # type: ignore[operator] # a number
    assert spread.select(pl.max("y", "x")).row(0) == pytest.approx((0, 0), abs=1e-9)
    off = (sites["y_px"] - sites["stage_y_px"]).to_numpy()
    assert (np.abs(off) <= 7.5).all() and np.abs(off).max() > 1
    assert (off % 1 != 0).all()


def test_cut_nuclei_are_named_as_cut(tmp_path: Path) -> None:
    """They show fewer pixels than the whole outline has and lie at the border; the others show all."""
    folder = write_imagexpress(tmp_path / "plate", replace(FULL, sites=9, scene=SyntheticScene(overlap=0.2)))
    nuclei = table(folder, "nuclei").with_columns(whole=math.pi * pl.col("semi_major_px") * pl.col("semi_minor_px"))
    cut, intact = nuclei.filter("cut"), nuclei.filter(~pl.col("cut"))
    assert len(cut) > 5 and cut["at_border"].all()
    assert (cut["area_px"] < cut["whole"] * 1.03).all() and (cut["area_px"] / cut["whole"]).min() < 0.6  # type: ignore[operator]
    assert intact["area_px"].to_list() == pytest.approx(intact["whole"].to_list(), rel=0.05)
    sites = table(folder, "sites")
    assert sites["nuclei"].sum() == len(nuclei) and sites["nuclei_cut"].sum() == len(cut)


def test_the_tables_agree_with_the_pixels(tmp_path: Path) -> None:
    """Counts of the document, of the table and of the label image are one; areas and means are those of the pixels."""
    spec = replace(FULL, scene=SyntheticScene(cells=True, touching=1.7, overlap=0.2))
    folder = write_imagexpress(tmp_path / "plate", spec)
    document = json.loads(truth_path(folder).read_text())
    nuclei, sites = table(folder, "nuclei"), table(folder, "sites")
    images = SyntheticImages(spec)
    for well in spec.wells:
        for site in range(1, 5):
            rows = nuclei.filter(well=well, site=site)
            labels = images.labels(well, site)
            assert len(document["wells"][well]["sites"][str(site)]) == len(rows) == len(np.unique(labels)) - 1
            assert rows["area_px"].to_list() == [int((labels == number).sum()) for number in rows["object"]]
            background = OFFSET + sites.filter(well=well, site=site)["background_GFP"].item()
            cells, pixels = images.cell_labels(well, site), plane(spec, well, site, 2) - background
            assert ((labels == 0) | (labels == cells)).all()
            for row in rows.filter(~pl.col("cell_cut")).iter_rows(named=True):
                number = row["object"]
                assert row["mean_GFP"] == pytest.approx(pixels[labels == number].mean(), rel=0.02)
                ring = (cells == number) & (labels == 0)
                assert row["cytoplasm_mean_GFP"] == pytest.approx(pixels[ring].mean(), rel=0.02)
                assert row["cell_area_px"] == int((cells == number).sum())


def test_cells_have_a_body_and_spots_and_a_ratio_that_positive_controls_raise(tmp_path: Path) -> None:
    """Nuclei are dim in negative wells and bright in positive ones, in the second channel; spots are local maxima."""
    spec = replace(FULL, scene=SyntheticScene(cells=True))
    folder = write_imagexpress(tmp_path / "plate", spec)
    nuclei, spots = table(folder, "nuclei"), table(folder, "spots")
    medians = {
        well: (rows["mean_GFP"] / rows["cytoplasm_mean_GFP"]).median()
        for (well,), rows in nuclei.group_by("well", maintain_order=True)
    }
    assert medians["A01"] < 1 < medians["A03"]  # type: ignore[operator] # numbers
    assert nuclei["spots"].sum() == len(spots) and nuclei["spots"].min() >= 1  # type: ignore[operator] # a number
    peaks = plane(spec, "A03", 1, 3)
    for row in spots.filter(well="A03", site=1).iter_rows(named=True):
        y, x = round(row["y_px"]), round(row["x_px"])
        near = peaks[y - 2 : y + 3, x - 2 : x + 3]
        assert peaks[y, x] >= 0.8 * near.max() and peaks[y, x] > 0.5 * row["peak"]


def test_the_light_of_each_channel_is_in_the_truth_and_in_the_pixels(tmp_path: Path) -> None:
    """It has mean 1, differs by channel, lacks the share asked for in a corner; backgrounds vary by image."""
    spec = replace(FLAT, sites=6, shape=(200, 240))
    folder = write_imagexpress(tmp_path / "plate", spec)
    document = json.loads(truth_path(folder).read_text())["scene"]
    fields = [np.load(folder.parent / document["light"][channel]) for channel in spec.channels]
    sites = table(folder, "sites")
    assert [field.dtype for field in fields] == ["float32", "float32"]
    assert [float(field.mean()) for field in fields] == pytest.approx([1, 1], abs=1e-5)
    assert np.abs(fields[0] - fields[1]).max() > 0.02
    assert 0.5 < fields[0].min() / fields[0].max() < 0.7
    backgrounds = sites["background_DAPI"].to_numpy()
    assert 0.05 < backgrounds.std() / backgrounds.mean() < 0.15
    even = []
    for (well, site), background in zip(sites.select("well", "site").iter_rows(), backgrounds, strict=True):
        pixels = (plane(spec, well, site) - document["camera_offset"]) / background
        even.append(np.where(draw(spec, well, site).signal(0, 1) == 0, pixels, np.nan))
    measured = np.nanmean(even, axis=0) / fields[0]
    assert np.nanmean(measured) == pytest.approx(1, abs=0.002)
    corners = [measured[:60, :60], measured[-60:, :60], measured[:60, -60:], measured[-60:, -60:]]
    assert [np.nanmean(corner) for corner in corners] == pytest.approx([1] * 4, abs=0.01)


def test_even_light_is_ones() -> None:
    """Without a vignette nothing is taken away."""
    assert (light(0, 0.0, (40, 50), 0) == 1).all()


def test_a_scene_can_be_made_again_in_any_order() -> None:
    """A plane depends on its spec alone."""
    keys = list(FULL.image_keys())[:12]
    together = {key: SyntheticImages(FULL).plane(key) for key in keys}
    for key in reversed(keys):
        np.testing.assert_array_equal(SyntheticImages(FULL).plane(key), together[key])


def test_spots_have_no_labels() -> None:
    """Without a scene there is no outline, and that is what is said."""
    with pytest.raises(ValueError, match="give it a scene"):
        SyntheticImages(SPOTS).labels("A01", 1)


def test_the_tables_say_what_their_columns_mean(tmp_path: Path) -> None:
    """Each column has a description, in the document and in the Parquet file."""
    import pyarrow.parquet as pq

    folder = write_imagexpress(tmp_path / "plate", FLAT)
    assert sorted(path.name for path in truth_folder(folder).iterdir()) == [
        "light_1.npy", "light_2.npy", "nuclei.parquet", "sites.parquet", "spots.parquet",
    ]  # fmt: skip
    for name in ("nuclei", "spots", "sites"):
        schema = pq.read_schema(truth_folder(folder) / f"{name}.parquet")
        assert all(field.metadata[b"description"] for field in schema)
    assert table(folder, "nuclei")["cell_area_px"].null_count() == len(table(folder, "nuclei"))


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        ({"overlap": 0.5}, "below 0.5, not 0.5"),
        ({"overlap": 0.0}, "above 0"),
        ({"overlap": -0.1}, "above 0"),
        ({"overlap": math.nan}, "above 0 and below 0.5"),
        ({"overlap": 0.1, "jitter_px": -1.0}, "0 or more, not -1"),
        ({"overlap": 0.1, "jitter_px": math.nan}, "0 or more"),
        ({"overlap": 0.1, "jitter_px": math.inf}, "0 or more"),
        ({"jitter_px": 3.0}, "give an overlap, too"),
        ({"touching": 0.5}, "1.2 to 1.75 mean radii apart, not 0.5"),
        ({"touching": 2.0}, "some do not touch"),
        ({"vignette": 1.0}, "from 0 to below 1"),
        ({"vignette": math.nan}, "from 0 to below 1"),
        ({"radius_px": 1.0}, "4 pixels or more"),
    ],
)
def test_scenes_that_cannot_be_are_refused(scene: dict[str, float], sentence: str) -> None:
    """With the values that can."""
    with pytest.raises(OptionError, match=sentence):
        SyntheticScene(**scene)  # type: ignore[arg-type] # one of each


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scene": SyntheticScene(overlap=0.1), "sites": 1}, "two or more"),
        ({"scene": SyntheticScene(overlap=0.1, jitter_px=13)}, "might not overlap. Use less jitter"),
        ({"scene": SyntheticScene(cells=True), "channels": ("DAPI",)}, "at least two channels"),
        ({"scene": SyntheticScene(cells=True, touching=1.7), "shape": (40, 256)}, "too small for these objects; use"),
    ],
)
def test_plates_that_cannot_show_their_scene_are_refused(change: dict[str, Any], sentence: str) -> None:
    """With what would have to change."""
    with pytest.raises(OptionError, match=sentence):
        replace(FULL, **change)
