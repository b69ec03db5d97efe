"""What other programs say of an OME-Zarr plate, each asked in a process of its own.

ome-zarr-models cannot judge 0.4 in a process that has judged 0.5.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_MODELS = """
import json, sys, warnings
import zarr
warnings.simplefilter("ignore")  # it asks for a version that 0.5 moved elsewhere
folder, module = sys.argv[1:]
import importlib
model = importlib.import_module(f"ome_zarr_models.{module}")
plate = model.HCS.from_zarr(zarr.open_group(folder, mode="r"))
meta = getattr(plate.attributes, "ome", plate.attributes).plate
labels = {}
images = 0
for well in meta.wells:
    group = model.Well.from_zarr(zarr.open_group(f"{folder}/{well.path}", mode="r"))
    for image in getattr(group.attributes, "ome", group.attributes).well.images:
        place = f"{folder}/{well.path}/{image.path}"
        model.Image.from_zarr(zarr.open_group(place, mode="r"))
        images += 1
        if "labels" in zarr.open_group(place, mode="r"):
            found = model.Labels.from_zarr(zarr.open_group(f"{place}/labels", mode="r"))
            names = getattr(found.attributes, "ome", found.attributes).labels
            for name in names:
                model.ImageLabel.from_zarr(zarr.open_group(f"{place}/labels/{name}", mode="r"))
            labels[f"{well.path}/{image.path}"] = names
print(json.dumps({"wells": len(meta.wells), "images": images, "labels": labels}))
"""

_NGIO = """
import json, sys
import ngio
plate = ngio.open_ome_zarr_plate(sys.argv[1], mode="r")
images = plate.get_images()
told = {}
for path, container in images.items():
    image = container.get_image()
    pixels = image.get_as_numpy()
    labels = {name: int(container.get_label(name).get_as_numpy().max()) for name in container.list_labels()}
    told[path] = {
        "shape": pixels.shape, "sum": int(pixels.astype("int64").sum()), "channels": image.channel_labels,
        "pixel_size": [image.pixel_size.z, image.pixel_size.y, image.pixel_size.x], "labels": labels,
        "levels": container.levels,
    }
print(json.dumps({"wells": plate.wells_paths(), "images": told}))
"""

_OME_ZARR_PY = """
import json, logging, sys
logging.disable(logging.CRITICAL)
import numpy as np
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
plate, *paths = sys.argv[1:]
nodes = list(Reader(parse_url(plate))())
told = {"specs": sorted({type(spec).__name__ for spec in nodes[0].specs}), "images": {}, "labels": {}}
for path in paths:
    for node in Reader(parse_url(f"{plate}/{path}"))():
        specs = {type(spec).__name__ for spec in node.specs}
        if "Label" in specs:
            told["labels"][str(node.zarr)] = int(np.asarray(node.data[0]).max())
        elif "Multiscales" in specs:
            told["images"][path] = {
                "channels": node.metadata.get("channel_names"),
                "shapes": [list(level.shape) for level in node.data],
                "sum": int(np.asarray(node.data[0]).astype("int64").sum()),
            }
print(json.dumps(told))
"""


def judged_by_models(plate: Path | str, ngff: str) -> dict[str, Any]:
    """Wells, images and labels that ome-zarr-models accepts; an AssertionError has what it complains of."""
    return _ask(_MODELS, str(plate), {"0.4": "v04", "0.5": "v05"}[ngff])


def opened_by_ngio(plate: Path) -> dict[str, Any]:
    """Every image of the plate as ngio sees it, by its path."""
    return _ask(_NGIO, str(plate))


def opened_by_ome_zarr_py(plate: Path, *images: str) -> dict[str, Any]:
    """The plate's kind, and the images and their labels at some paths, as ome-zarr-py sees them."""
    return _ask(_OME_ZARR_PY, str(plate), *images)


def _ask(script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
