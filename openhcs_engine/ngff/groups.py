"""Groups of both versions of OME-Zarr: 0.5 in zarr v3 (``zarr.json``), 0.4 in zarr v2 (``.zgroup``, ``.zattrs``).

In memory their attributes are as in 0.5: ``ome`` and our own. In 0.4 the parts of ``ome`` stand at the top, and each
says the version itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from openhcs_engine.errors import NotAnOutputError
from openhcs_engine.files.atomic import StoredFile, write_new
from openhcs_engine.model.system_errors import explained
from openhcs_engine.ngff.metadata import OWN, document
from openhcs_engine.ngff.nodes import ARRAY_V2, ATTRIBUTES_V2, GROUP_V2, NODE_V3

GROUP_FILES: Final = frozenset({NODE_V3, GROUP_V2, ATTRIBUTES_V2})
"""What a group may consist of."""
_WITH_VERSION: Final = ("plate", "well", "omero", "image-label")


def group_files(attributes: Mapping[str, Any], ngff: str) -> dict[str, bytes]:
    """The files of a group by their names, in the order in which they are written."""
    if ngff == "0.4":
        files = {GROUP_V2: document({"zarr_format": 2})}
        return files | ({ATTRIBUTES_V2: document(_as_in_04(attributes))} if attributes else {})
    stated = dict(attributes)
    if "ome" in stated:
        stated["ome"] = {"version": ngff, **_with_version(stated["ome"], ngff, ("plate", "well", "image-label"))}
    return {NODE_V3: document({"zarr_format": 3, "node_type": "group", "attributes": stated})}


def write_group(folder: Path, path: str, attributes: Mapping[str, Any], ngff: str) -> list[StoredFile]:
    """Write a group of a folder that nobody reads yet; ``path`` is empty for the folder itself."""
    within = f"{path}/" if path else ""
    return [write_new(folder, f"{within}{name}", content) for name, content in group_files(attributes, ngff).items()]


def version_of(folder: Path) -> str | None:
    """Version of OME-Zarr of the group in a folder, by its files; None if there is none."""
    return version_by_files(name for name in (NODE_V3, GROUP_V2, ATTRIBUTES_V2) if (folder / name).is_file())


def version_by_files(names: Iterable[str]) -> str | None:
    """The same by the names of the files that are there."""
    found = set(names)
    if NODE_V3 in found:
        return "0.5"
    return "0.4" if found & {GROUP_V2, ATTRIBUTES_V2} else None


def read_attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a group of either version, as in 0.5.

    Raises
    ------
    NotAnOutputError
        If there is no group, or its document is damaged.
    """
    return attributes_in(_read(folder, (NODE_V3, ATTRIBUTES_V2, GROUP_V2)))


def attributes_in(document: dict[str, Any]) -> dict[str, Any]:
    """Attributes that a group's document of either version states, as in 0.5."""
    if "zarr_format" in document:
        attributes = document.get("attributes", {})
        return attributes if isinstance(attributes, dict) else {}
    own = {OWN: document[OWN]} if OWN in document else {}
    return {"ome": {name: part for name, part in document.items() if name != OWN}, **own}


def read_array_document(folder: Path) -> dict[str, Any]:
    """``zarr.json`` or ``.zarray`` of an array; NotAnOutputError if there is none, or it is damaged."""
    return _read(folder, (NODE_V3, ARRAY_V2))


def _as_in_04(attributes: Mapping[str, Any]) -> dict[str, Any]:
    top = {name: value for name, value in attributes.items() if name != "ome"}
    parts = _with_version(attributes.get("ome", {}), "0.4", _WITH_VERSION)
    if "multiscales" in parts:
        parts["multiscales"] = [{"version": "0.4", **multiscale} for multiscale in parts["multiscales"]]
    return {**parts, **top}


def _with_version(parts: Mapping[str, Any], ngff: str, which: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"version": ngff, **part} if name in which else part for name, part in parts.items()}


def _read(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The first of the documents that is there."""
    for name in names:
        try:
            return msgspec.json.decode((folder / name).read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            raise NotAnOutputError(
                f"{folder} holds no readable {name}: {explained(error)}.", path=str(folder)
            ) from error
    raise NotAnOutputError(f"{folder} holds neither {' nor '.join(names)}.", path=str(folder))


__all__ = [
    "GROUP_FILES",
    "attributes_in",
    "group_files",
    "read_array_document",
    "read_attributes",
    "version_by_files",
    "version_of",
    "write_group",
]
