"""A synthetic plate as OME-Zarr, by zarr-python alone: as another program would have written it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from openhcs_engine.model.image_index import ImageKey
from openhcs_engine.model.wells import row_and_column, row_letters
from openhcs_engine.ngff.metadata import well_path
from openhcs_engine.ngff.writing.pyramid import halve
from openhcs_engine.synthetic.images import SyntheticImages
from openhcs_engine.synthetic.plate import SyntheticPlate
from openhcs_engine.synthetic.writing import Layout, write_plate

_AXES: Final = "tczyx"
_LEVELS: Final = 2


def write_ome_zarr(
    folder: str | os.PathLike[str], spec: SyntheticPlate | None = None, version: Literal["0.5", "0.4"] = "0.5"
) -> Path:
    """Write an OME-Zarr plate: an image a site with axes t, c, z, y, x, two levels, a chunk a plane.

    Parameters
    ----------
    folder : path
        The plate's group; it must be absent or empty.
    spec : SyntheticPlate, optional
        24 wells with 2 sites, 2 channels and 3 z planes if not given. ``thumbnails`` says nothing here: the second
        level is there in any case.
    version : {"0.5", "0.4"}
        NGFF 0.5 in zarr v3, or 0.4 in zarr v2.

    Returns
    -------
    pathlib.Path
        The plate's group. The truth lies beside it in ``<folder>.truth.json``.

    Raises
    ------
    OutputPlaceError
        If the folder is not empty.
    ValueError
        If the spec asks for what OME-Zarr cannot say: projections beside planes, or single planes that are missing.
    """
    return write_plate(folder, spec, partial(_OmeZarr, version=version))


class _OmeZarr(Layout):
    """A plate as another program would write it; an image is a site, and its key that of its first plane."""

    def __init__(self, folder: Path, images: SyntheticImages, version: str) -> None:
        super().__init__(folder, images)
        self.version = version
        if version not in ("0.4", "0.5"):
            raise ValueError(f"OME-Zarr plates are written in version 0.4 or 0.5, not {version!r}.")
        if self.spec.projections:
            raise ValueError("OME-Zarr has no place for projections beside planes; use projections=False.")
        if any((key.channel, key.z_index, key.timepoint) != (None, None, None) for key in self.spec.missing):
            raise ValueError("OME-Zarr cannot say that single planes are missing; leave out whole wells or sites.")

    def write_metadata(self) -> None:
        self.write_group(self.folder, {"plate": self.plate_attributes()})
        for row in range(self.spec.rows):
            self.write_group(self.folder / row_letters(row), {})
        images = [{"path": str(site), "acquisition": 0} for site in range(self.spec.sites)]
        for well in {key.well for key in self.image_keys()}:  # the plate lists those without an image all the same
            self.write_group(self.folder / well_path(well), {"well": {**self.stated_version(), "images": images}})

    def image_keys(self) -> Iterator[ImageKey]:
        return (key for key in self.spec.image_keys() if key == key.replace(channel=1, z_index=1, timepoint=1))

    def write_image(self, key: ImageKey) -> Path:
        well, site = key.well, key.site or 1
        image = self.folder / well_path(well) / str(site - 1)
        self.write_group(image, self.image_attributes(well, site))
        levels = [self.pixels(well, site)]
        while len(levels) < _LEVELS:
            levels.append(_halved(levels[-1]))
        for number, pixels in enumerate(levels):
            self.write_array(image / str(number), pixels)
        return image / ("0/0/0/0/0/0" if self.version == "0.4" else "0/c/0/0/0/0/0")

    def pixels(self, well: str, site: int) -> NDArray[np.uint16]:
        """All planes of a site, (t, c, z, y, x)."""
        spec = self.spec
        stack = np.empty((spec.timepoints, len(spec.channels), spec.z, *spec.shape), np.uint16)
        for t, c, z in np.ndindex(*stack.shape[:3]):
            stack[t, c, z] = self.images.plane(ImageKey(well, site, c + 1, z + 1, t + 1))
        return stack

    def write_group(self, folder: Path, attributes: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.version == "0.5":
            ome = {"ome": {"version": self.version, **attributes}} if attributes else {}
            _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": ome})
        else:
            _write_json(folder / ".zgroup", {"zarr_format": 2})
            _write_json(folder / ".zattrs", attributes)

    def write_array(self, folder: Path, pixels: NDArray[np.uint16]) -> None:
        import zarr

        v2 = self.version == "0.4"
        array = zarr.create_array(
            str(folder),
            shape=pixels.shape,
            chunks=(1, 1, 1, *pixels.shape[-2:]),
            dtype=pixels.dtype,
            zarr_format=2 if v2 else 3,
            fill_value=0,
            chunk_key_encoding={"name": "v2" if v2 else "default", "separator": "/"},
            dimension_names=None if v2 else list(_AXES),
        )
        array[...] = pixels

    def plate_attributes(self) -> dict[str, Any]:
        spec = self.spec
        places = {well: row_and_column(well) for well in spec.wells}
        return {
            **self.stated_version(),
            "name": spec.name,
            "field_count": spec.sites,
            "acquisitions": [{"id": 0, "name": spec.name, "maximumfieldcount": spec.sites}],
            "rows": [{"name": row_letters(row)} for row in range(spec.rows)],
            "columns": [{"name": f"{column + 1:02d}"} for column in range(spec.columns)],
            "wells": [
                {"path": well_path(well), "rowIndex": row, "columnIndex": column}
                for well, (row, column) in places.items()
            ],
        }

    def image_attributes(self, well: str, site: int) -> dict[str, Any]:
        spec = self.spec
        axes: list[dict[str, str]] = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
        axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        datasets = [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0, 1.0, spec.z_step_um, *[spec.pixel_size_um * 2**level] * 2]}
                ],
            }
            for level in range(_LEVELS)
        ]
        window = {"min": 0, "max": 65535, "start": 0, "end": 4000}
        channels = [{"label": name, "color": "FFFFFF", "active": True, "window": window} for name in spec.channels]
        multiscale = {**self.stated_version(), "name": f"{well} {site}", "axes": axes, "datasets": datasets}
        return {"multiscales": [multiscale], "omero": {"channels": channels}}

    def stated_version(self) -> dict[str, str]:
        """In 0.5 the version stands beside, not in the parts."""
        return {"version": self.version} if self.version == "0.4" else {}


def _halved(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    planes = stack.reshape(-1, *stack.shape[-2:])
    halved = np.stack([halve(plane) for plane in planes])
    return halved.reshape(*stack.shape[:-2], *halved.shape[-2:])


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


__all__ = ["write_ome_zarr"]
