"""What other programs find in whole OME-Zarr plates, each asked once, in a process of its own, about many of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

_NAPARI: Final = """
import contextlib, io, json, sys
import numpy as np
from napari_ome_zarr import napari_get_reader
told = {}
for folder in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it reads
        layers = napari_get_reader(folder)(folder)  # one, and from 0.11 on one a channel
        told[folder] = sum(int(np.asarray(layer[0][0]).astype("int64").sum()) for layer in layers)
print(json.dumps(told))
"""

_OME_ZARR: Final = """
import json, logging, sys
logging.disable(logging.CRITICAL)
import numpy as np
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
told = {}
for folder in sys.argv[1:]:
    (node,) = Reader(parse_url(folder))()
    told[folder] = int(np.asarray(node.data[0]).astype("int64").sum())
print(json.dumps(told))
"""

_NGIO: Final = """
import json, sys
import ngio
told = {}
for folder in sys.argv[1:]:
    plate = ngio.open_ome_zarr_plate(folder, mode="r")
    images = plate.get_images()
    told[folder] = {path: int(image.get_image().get_as_numpy().astype("int64").sum()) for path, image in images.items()}
print(json.dumps(told))
"""

_MODELS: Final = """
import importlib, json, sys, warnings
import zarr
warnings.simplefilter("ignore")  # it asks for a version that 0.5 moved elsewhere
module, *folders = sys.argv[1:]
model = importlib.import_module(f"ome_zarr_models.{module}")
told = {}
for folder in folders:
    plate = model.HCS.from_zarr(zarr.open_group(folder, mode="r"))
    told[folder] = []
    for well in getattr(plate.attributes, "ome", plate.attributes).plate.wells:
        group = model.Well.from_zarr(zarr.open_group(f"{folder}/{well.path}", mode="r"))
        for image in getattr(group.attributes, "ome", group.attributes).well.images:
            model.Image.from_zarr(zarr.open_group(f"{folder}/{well.path}/{image.path}", mode="r"))
            told[folder].append(f"{well.path}/{image.path}")
print(json.dumps(told))
"""

_IOHUB: Final = """
import json, sys
import numpy as np
from iohub import open_ome_zarr
told = {}
for folder in sys.argv[1:]:
    with open_ome_zarr(folder, mode="r") as plate:
        told[folder] = {name: int(np.asarray(at.data[:]).astype("int64").sum()) for name, at in plate.positions()}
print(json.dumps(told))
"""
NEWEST: Final = os.environ.get("OPENHCS_READERS_PYTHON", "")
"""An interpreter with the newest readers, which need a newer Python; ``make test-readers`` makes it."""


def sums_of_napari(plates: Iterable[Path]) -> dict[str, int]:
    """The sum of the pixels of the layers as which napari-ome-zarr shows each plate."""
    return _ask(sys.executable, _NAPARI, plates)


def sums_of_ome_zarr(plates: Iterable[Path], python: str = sys.executable) -> dict[str, int]:
    """The sum of the pixels of the one picture that ome-zarr makes of each plate."""
    return _ask(python, _OME_ZARR, plates)


def images_of_ngio(plates: Iterable[Path]) -> dict[str, dict[str, int]]:
    """The sum of the pixels of each image that ngio finds, by plate and path."""
    return _ask(sys.executable, _NGIO, plates)


def images_of_models(plates: Iterable[Path], ngff: str) -> dict[str, list[str]]:
    """The images of plates of one version that ome-zarr-models accepts; it cannot judge both in one process."""
    return _ask(sys.executable, _MODELS, plates, {"0.4": "v04", "0.5": "v05"}[ngff])


def images_of_iohub(plates: Iterable[Path], python: str) -> dict[str, dict[str, int]]:
    """The sum of the pixels of each position that iohub finds, by plate and path."""
    return _ask(python, _IOHUB, plates)


def _ask(python: str, script: str, plates: Iterable[Path], *more: str) -> dict[str, Any]:
    arguments = [python, "-c", script, *more, *map(str, plates)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
