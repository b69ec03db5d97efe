"""What the small files in a folder make of it: a zarr array, an OME-Zarr image, another group; both versions of zarr.

A listing asks this before it descends, because what lies below arrays and images may be millions of files.

*Source*: zarr v2 specification (``.zgroup``, ``.zarray``, ``.zattrs``), zarr v3 core specification (``zarr.json``),
OME-NGFF 0.4 and 0.5 (``multiscales``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

import msgspec

NODE_V3: Final = "zarr.json"
ARRAY_V2, GROUP_V2, ATTRIBUTES_V2 = ".zarray", ".zgroup", ".zattrs"
METADATA_NAMES: Final = frozenset({NODE_V3, ARRAY_V2, GROUP_V2, ATTRIBUTES_V2, ".zmetadata"})
MAX_NODE_BYTES: Final = 2**20
"""What arrays and images say of themselves is small; only groups with consolidated metadata grow."""
_CHUNK = re.compile(r"c|(?:c[./])?\d+(?:[./]\d+)*", re.ASCII)
"""What lies in an array's folder, for every separator: ``c``, ``c.0.1``, ``0.1``, ``0``."""


class _Dataset(msgspec.Struct):
    path: str


class _Multiscale(msgspec.Struct):
    datasets: list[_Dataset] = []


class _Attributes(msgspec.Struct):
    multiscales: list[_Multiscale] = []


class _AttributesV3(msgspec.Struct):
    ome: _Attributes | None = None


class _Node(msgspec.Struct):
    node_type: str = ""
    attributes: _AttributesV3 | None = None
    multiscales: list[_Multiscale] = []


def may_be_node(names: Collection[str]) -> bool:
    """True if a folder that holds these names may be an array or a group."""
    return NODE_V3 in names or ARRAY_V2 in names or ATTRIBUTES_V2 in names


def is_array(names: Collection[str], has_folders: Callable[[], bool], read: Callable[[str], bytes]) -> bool:
    """True if a folder that holds these names is a zarr array, so that all else in it are chunks.

    Parameters
    ----------
    names
        Everything in the folder.
    has_folders
        Tells whether some of them are folders; asked only where it decides.
    read
        Gives the content of one of the files, nothing if it is larger than MAX_NODE_BYTES; asked only where names do
        not decide.
    """
    if ARRAY_V2 in names:
        return True
    if NODE_V3 not in names:
        return False
    others = chunks_among(names)
    if not all(_CHUNK.fullmatch(name) for name in others):
        return False
    return bool(others and not has_folders()) or _node(read(NODE_V3)).node_type == "array"


def level_0(names: Collection[str], read: Callable[[str], bytes]) -> str | None:
    """Where an image's first resolution lies in its folder, if the folder is an OME-Zarr image."""
    node = _node(read(NODE_V3 if NODE_V3 in names else ATTRIBUTES_V2))
    ome = None if node.attributes is None else node.attributes.ome
    multiscales = node.multiscales if ome is None else ome.multiscales
    return multiscales[0].datasets[0].path if multiscales and multiscales[0].datasets else None


def chunks_among(names: Collection[str]) -> list[str]:
    """Names in an array's folder that are neither metadata nor hidden."""
    return [name for name in names if name not in METADATA_NAMES and not name.startswith(".")]


def _node(content: bytes) -> _Node:
    """The document, or an empty one where it is damaged: then it decides nothing, and its reader will say so."""
    try:
        return msgspec.json.decode(content, type=_Node)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _Node()


__all__ = [
    "ARRAY_V2",
    "ATTRIBUTES_V2",
    "GROUP_V2",
    "MAX_NODE_BYTES",
    "METADATA_NAMES",
    "NODE_V3",
    "chunks_among",
    "is_array",
    "level_0",
    "may_be_node",
]
