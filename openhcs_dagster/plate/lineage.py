"""Tags that make a hand-made materialization of a well know what it came from.

Dagster writes them itself where an op returns its outputs. The wells are recorded one by one while the op still runs,
so we write them; without them every well would show as "unsynced". The names are Dagster's own constants; a test asks
GraphQL for ``staleStatus`` so that an upgrade that renames them is noticed.
"""

from collections.abc import Iterable, Mapping

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from openhcs_dagster.internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)


def upstream_tags(instance: DagsterInstance, upstream: Iterable[AssetKey]) -> dict[str, str]:
    """Which materializations of ``upstream`` a new event was made from; nothing of an asset that has none."""
    tags = dict[str, str]()
    for key in upstream:
        records = instance.fetch_materializations(AssetRecordsFilter(asset_key=key), limit=1).records
        if records and (made := records[0].asset_materialization) is not None:
            tags[get_input_data_version_tag(key)] = (made.tags or {}).get(DATA_VERSION_TAG, "")
            tags[get_input_event_pointer_tag(key)] = str(records[0].storage_id)
    return tags


def recorded_version(tags: Mapping[str, str] | None) -> str | None:
    """The data version of a recorded event; None if it has none."""
    return (tags or {}).get(DATA_VERSION_TAG)


def version_tags(code_version: str, data_version: str) -> dict[str, str]:
    """The event's own versions."""
    return {
        CODE_VERSION_TAG: code_version,
        DATA_VERSION_TAG: data_version,
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
    }
