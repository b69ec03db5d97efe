"""Draw what the ready pipelines do into ``docs/images``: ``python tools/draw_pipelines.py``.

Each runs on a small synthetic plate; labels are drawn as outlines over the published images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from openhcs_engine import PipelineOrchestrator
from openhcs_engine.ngff.reading.reader import FieldReader, open_plate
from openhcs_engine.pipeline import load_pipeline
from openhcs_engine.synthetic import SyntheticPlate, SyntheticScene, write_imagexpress

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SPEC = SyntheticPlate(
    name="drawn", rows=1, columns=3, sites=1, shape=(224, 224), scene=SyntheticScene(touching=1.7), seed=2
)
CELLS = SyntheticPlate(
    name="moving",
    rows=1,
    columns=2,
    sites=1,
    shape=(224, 224),
    channels=("DAPI", "GFP", "Cy5"),
    scene=SyntheticScene(cells=True),
)
"""In the first well the reporter is in the bodies, in the second in the nuclei."""
NUCLEUS, CYTOPLASM = (255, 200, 0), (0, 190, 255)
ZOOM, GAP = 2, 8
"""Pixels of the picture for one of the image, and between two images."""
Plane = NDArray[Any]


def run(pipeline: str, plate: Path, folder: Path, settings: Mapping[str, object]) -> Path:
    """The output of a ready pipeline."""
    made = load_pipeline(f"openhcs_engine.pipelines:{pipeline}", settings=settings)
    orchestrator = PipelineOrchestrator(plate, output=folder, runner="threads").initialize()
    for result in orchestrator.execute(made, orchestrator.compile_pipelines(made), 1):
        assert result.error is None, result.error
    return folder / orchestrator.plate.plate_id


def panel(image: Plane, outlines: Mapping[tuple[int, int, int], Plane] | None = None) -> Plane:
    """A plane in grey, enlarged, with outlines of labels in their colours."""
    low, high = np.percentile(image, (1, 99.8))
    grey = (np.clip((image.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    rgb = np.stack([grey.repeat(ZOOM, 0).repeat(ZOOM, 1)] * 3, axis=-1)
    for colour, labels in (outlines or {}).items():
        rgb[find_boundaries(labels.repeat(ZOOM, 0).repeat(ZOOM, 1), mode="inner")] = colour
    return rgb


def save(name: str, panels: list[Plane]) -> None:
    """Panels side by side."""
    between = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for each in panels for part in (between, each)][1:]
    Image.fromarray(np.concatenate(parts, axis=1)).save(IMAGES / f"{name}.png", optimize=True)
    print(f"{(IMAGES / name).relative_to(IMAGES.parents[1])}.png")


def labels(field: FieldReader, name: str) -> Plane:
    """The labels of a field ``(y, x)``."""
    return np.squeeze(np.asarray(field.label(name).array()))


def plane(field: FieldReader, channel: int) -> Plane:
    """A channel of a field ``(y, x)``."""
    found = field.plane(channel=channel)
    assert found is not None
    return found


def main() -> None:
    """Draw all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plate = write_imagexpress(folder / "drawn", SPEC)

        output = run("project_and_composite", plate, folder / "composite", {})
        field = open_plate(output / "projections.zarr")["A01"][1]
        mixed = np.asarray(open_plate(output / "images.zarr")["A01"][1].array(level=0))[0, 0, 0]
        save("project_and_composite", [panel(plane(field, 1)), panel(plane(field, 2)), panel(mixed)])

        wells = open_plate(run("count_nuclei", plate, folder / "nuclei", {}) / "images.zarr")
        fields = [wells[well][1] for well in ("A01", "A03")]
        save("count_nuclei", [panel(plane(field, 1), {NUCLEUS: labels(field, "nuclei")}) for field in fields])

        moving = write_imagexpress(folder / "moving", CELLS)
        wells = open_plate(run("translocation", moving, folder / "moved", {"reporter": "GFP"}) / "images.zarr")
        save("translocation", [reporter(wells[well][1]) for well in ("A01", "A02")])


def reporter(field: FieldReader) -> Plane:
    """The reporter's channel with nuclei and cytoplasms."""
    outlines = {CYTOPLASM: labels(field, "cytoplasm"), NUCLEUS: labels(field, "nuclei")}
    return panel(plane(field, 2), outlines)


if __name__ == "__main__":
    main()
