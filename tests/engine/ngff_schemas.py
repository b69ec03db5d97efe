"""The JSON schemas of OME-NGFF, from the package that carries them, and what they say of a plate's groups."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from openhcs_engine.ngff.groups import read_attributes
from openhcs_engine.ngff.plate_group import version_file


def faults_of_plate(folder: Path, ngff: str) -> list[str]:
    """What the schemas say against the groups of a plate, its wells and its images; empty: all are valid."""
    plate = _document(folder, ngff)
    faults = _faults(plate, "plate", ngff, folder)
    for well in _ome(plate)["plate"]["wells"]:
        place = folder / well["path"]
        document = _document(place, ngff)
        faults += _faults(document, "well", ngff, place)
        for image in _ome(document)["well"]["images"]:
            faults += _faults(_document(place / image["path"], ngff), "image", ngff, place / image["path"])
    return faults


def _document(folder: Path, ngff: str) -> dict[str, Any]:
    """A group's attributes as they stand."""
    found: dict[str, Any] = json.loads((folder / version_file(ngff)).read_text())
    assert read_attributes(folder), "the same for us"
    return found["attributes"] if ngff == "0.5" else found


def _ome(attributes: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = attributes.get("ome", attributes)
    return part


def _faults(document: dict[str, Any], kind: str, ngff: str, folder: Path) -> list[str]:
    return [f"{folder}: {error.json_path} {error.message}" for error in validator(kind, ngff).iter_errors(document)]


@cache
def validator(kind: str, ngff: str) -> jsonschema.Draft202012Validator:
    """That of ``plate``, ``well`` or ``image``."""
    spec = importlib.util.find_spec("ngff_zarr")
    assert spec is not None and spec.submodule_search_locations, "ngff-zarr carries the schemas"
    place = Path(spec.submodule_search_locations[0]) / "spec" / ngff / "schemas"
    schemas = {path.stem: json.loads(path.read_text()) for path in place.glob("*.schema")}
    known = [(schema["$id"], DRAFT202012.create_resource(schema)) for schema in schemas.values()]
    return jsonschema.Draft202012Validator(schemas[kind], registry=Registry().with_resources(known))
