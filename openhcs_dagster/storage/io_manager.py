"""The virtual file system as Dagster's IO manager: what assets return is kept in one of its backends."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote

import dagster as dg
from pydantic import PrivateAttr

from openhcs_dagster.failures import as_sentence
from openhcs_dagster.keys import PlateKeys, plates_of_wells
from openhcs_dagster.storage.codecs import CODECS, codec_for, codec_of_suffix
from openhcs_engine.errors import MissingKeyError, StorageError, UnknownWellError
from openhcs_engine.files.address import is_remote, local_folder
from openhcs_engine.files.links import refuse_links
from openhcs_engine.model.wells import plate_order
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.vfs.backend import StorageBackend
from openhcs_engine.vfs.registry import StorageRegistry, default_storage

WELLS_FOLDER: Final = "openhcs/output_folder"
WELLS_BACKEND: Final = "openhcs/output_backend"
"""Definition metadata of an asset whose partitions are wells in a plate's output folder, which the engine writes."""


class StoredPartitions(Mapping[str, Any]):
    """The stored partitions of an asset, each loaded when it is asked for; in plate order where they are wells."""

    def __init__(self, backend: StorageBackend, keys: Mapping[str, str], missing: tuple[str, ...]) -> None:
        self._backend = backend
        self._keys = keys
        self.missing = missing
        """Partitions that were asked for and are not stored."""

    def __getitem__(self, partition: str) -> Any:
        with as_sentence(f"loading {self._keys[partition]}"):
            return _load(self._backend, self._keys[partition])

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class VfsIOManager(dg.ConfigurableIOManager):
    """Keeps contexts, tables, arrays, text and plain values; gives wells as a lazy reader.

    Wells are written by the engine's workers, through the same virtual file system but not through Dagster: no pixel
    travels in an event. An asset that takes ``processed_wells`` as its input gets a ``PlateWells``.
    """

    backend: str = "disk"
    """``disk``, ``zarr``, ``memory`` (one run in one process), or a backend of one's own as ``module:Class``."""
    root: str = ""
    """Folder or URL in which a backend that stores values gets its folder; a folder may be no link."""
    _storage: StorageRegistry | None = PrivateAttr(default=None)

    @as_sentence("storing what an asset returned")
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store what an asset returned; for several partitions at once, a mapping with a value for each."""
        name = _name(context.asset_key)
        if not context.has_asset_partitions:
            values = {name: obj}
        else:
            values = {f"{name}/{_part(key)}": value for key, value in _by_partition(context, obj).items()}
        stored = [self._store(key, value) for key, value in values.items()]
        context.add_output_metadata({"stored as": ", ".join(stored[:3]), "backend": self.backend})

    @as_sentence("loading what an asset returned")
    def load_input(self, context: dg.InputContext) -> Any:
        """What an asset returned; for partitions a lazy mapping, for wells a reader of the plate."""
        upstream = context.upstream_output
        described = (upstream.definition_metadata if upstream else None) or {}
        wells = context.asset_partition_keys if context.has_asset_partitions else None
        if WELLS_FOLDER in described:
            return PlateWells(Path(described[WELLS_FOLDER]), described[WELLS_BACKEND], wells)
        if plates_of_wells([context.asset_key]):
            return self._wells_of_another_location(context.asset_key, wells)
        name = _name(context.asset_key)
        if not context.has_asset_partitions:
            return self._load(name)
        partitions = sorted(context.asset_partition_keys, key=_plate_order)
        if len(partitions) == 1 and not _wants_mapping(context):
            return self._load(f"{name}/{_part(partitions[0])}")
        there = self._stored_in(name)
        stored = {partition: there[key] for partition in partitions if (key := f"{name}/{_part(partition)}") in there}
        if partitions and not stored and not self._backend().persistent:
            self._absent(name)
        missing = tuple(partition for partition in partitions if partition not in stored)
        return StoredPartitions(self._backend(), stored, missing)

    @as_sentence("loading what an asset returned")
    def stored(self, key: dg.AssetKey) -> object | None:
        """What an asset without partitions returned last; None if nothing is stored, or not within reach of this run.

        Raises
        ------
        StorageError
            If it was stored by a version that kept it otherwise, or is damaged.
        HomeError
            If the drive fails.
        """
        there = self._find(_name(key))
        return None if there is None else _load(self._backend(), there)

    def _wells_of_another_location(self, key: dg.AssetKey, wells: Sequence[str] | None) -> PlateWells:
        """Another code location knows the wells by name only; their plan, which is kept here, says where they are."""
        (plate_id,) = plates_of_wells([key])
        contexts: Any = self._load(_name(PlateKeys(plate_id).contexts))
        output = next(iter(contexts.values())).output
        return PlateWells(output.folder, output.backend, wells)

    def _load(self, key: str) -> object:
        return _load(self._backend(), self._find(key) or self._absent(key))

    def _store(self, key: str, value: object) -> str:
        codec = codec_for(value)
        stored = key + codec.suffix
        old = self._find(key)
        self._refuse_links(stored)
        codec.save(self._backend(), stored, value)
        if old is not None and old != stored:
            self._backend().delete(old)
        return stored

    def _find(self, key: str) -> str | None:
        backend = self._backend()
        found = next((key + codec.suffix for codec in CODECS if backend.exists(key + codec.suffix)), None)
        self._refuse_links(found or key)
        return found

    def _stored_in(self, folder: str) -> dict[str, str]:
        """The keys below an asset's name, by what they are without the codec's suffix: one listing for all."""
        self._refuse_links(folder)
        stored = {_without_suffix(key): key for key in self._backend().list(folder)}
        self._refuse_links(*stored.values())
        return stored

    def _refuse_links(self, *keys: str) -> None:
        """Look at the way to values at each use: another process may have put a link there, or in the root's stead.

        What is loaded counts as well: stored contexts name the functions that are run.
        """
        if self.root and not is_remote(self.root):
            root = local_folder(self.root)
            refuse_links(root.parent, [f"{root.name}/{self.backend}/{key}" for key in keys])

    def _absent(self, key: str) -> NoReturn:
        if not self._backend().persistent:
            raise StorageError(
                f"Asset {key} is not in this run's memory: the {self.backend} backend keeps values only for the run "
                "that made them. Materialize both assets in one run, or give the IO manager the backend 'disk' or "
                "'zarr'."
            )
        raise MissingKeyError(
            f"Nothing is stored for asset {key} in the {self.backend} backend below {self.root}; materialize it first.",
            key=key,
        )

    def _backend(self) -> StorageBackend:
        if self._storage is None:
            self._storage = default_storage(self.root or ".")
        return self._storage.get(self.backend)


def _load(backend: StorageBackend, key: str) -> object:
    codec = codec_of_suffix(key[len(_without_suffix(key)) :])
    if codec is None:
        raise StorageError(f"{key} was not stored by this version, which cannot read it; materialize its asset again.")
    return codec.load(backend, key)


def _name(key: dg.AssetKey) -> str:
    return "/".join((*key.path[:-1], _part(key.path[-1])))


def _part(name: str) -> str:
    """A partition's or an asset's name as the last part of a key: the first dot there begins the codec's suffix."""
    return quote(name, safe=" ").replace(".", "%2E")


def _without_suffix(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _by_partition(context: dg.OutputContext, obj: Any) -> dict[str, Any]:
    partitions = list(context.asset_partition_keys)
    if len(partitions) == 1 and not (isinstance(obj, Mapping) and set(obj) == set(partitions)):
        return {partitions[0]: obj}
    if not isinstance(obj, Mapping) or set(obj) != set(partitions):
        raise StorageError(
            f"Asset {'/'.join(context.asset_key.path)} made {len(partitions)} partitions in one run and returned a "
            f"{type(obj).__name__}; return a dict with one value for each of them."
        )
    return dict(obj)


def _wants_mapping(context: dg.InputContext) -> bool:
    """True if the input is declared as a mapping of partitions, which then may hold a single one."""
    wanted = context.dagster_type.typing_type
    return getattr(wanted, "__origin__", wanted) in (dict, Mapping, StoredPartitions)


def _plate_order(partition: str) -> tuple[int, int, str]:
    try:
        return (*plate_order(partition), partition)
    except UnknownWellError:
        return (0, 0, partition)
