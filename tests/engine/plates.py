"""Small plates made by hand, and functions that pipelines in tests are made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from openhcs_engine.memory.stack import Array
from openhcs_engine.model.image_index import ImageIndex, ImageKey, ImagePlane
from openhcs_engine.model.plate import Channel, Plate
from openhcs_engine.plan.context import OutputPlan


def make_plate(
    wells: Iterable[str] = ("A01", "A02", "B01"), root: Path = Path("/raw/plate")
) -> tuple[Plate, ImageIndex]:
    """A plate of two sites, two channels and three z planes of 8 x 6 pixels, with no files."""
    names = tuple(wells)
    plate = Plate(
        plate_id="P1",
        name="P1",
        microscope="imagexpress",
        root=str(root),
        wells=names,
        sites=(1, 2),
        channels=(
            Channel(index=1, name="DAPI", shape=(8, 6), dtype="uint16"),
            Channel(index=2, name="GFP", shape=(8, 6), dtype="uint16"),
        ),
        z_indexes=(1, 2, 3),
        timepoints=(1,),
        rows=8,
        columns=12,
        shape=(8, 6),
        dtype="uint16",
    )
    planes = [
        ImagePlane(
            key=ImageKey(well, site, channel, z, 1),
            path=f"TimePoint_1/ZStep_{z}/P1_{well}_s{site}_w{channel}.tif",
            size=96,
            mtime_ns=1,
        )
        for well in names
        for site in plate.sites
        for channel in (1, 2)
        for z in plate.z_indexes
    ]
    return plate, ImageIndex.of(planes)


def output_plan(root: Path = Path("/results"), backend: str = "zarr") -> OutputPlan:
    """Results of plate P1 below ``root``."""
    return OutputPlan(root=str(root), plate_id="P1", backend=backend)


def add(stack: Array, amount: int = 1) -> Array:
    """The stack, brighter by ``amount``."""
    return stack + np.asarray(amount, stack.dtype)


def double(stack: Array) -> Array:
    """The stack, twice as bright."""
    return stack * 2


def first_plane(stack: Array) -> Array:
    """One plane, without saying that the axis collapses."""
    return stack[:1]


def two_planes(stack: Array) -> Array:
    """Always two planes: against the law for stacks of other sizes."""
    return np.repeat(stack[:1], 2, axis=0)


def explode(stack: Array) -> Array:
    """Fails on every stack."""
    raise ValueError("the lamp is off")
