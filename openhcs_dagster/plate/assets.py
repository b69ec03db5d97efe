"""The factory: a catalogue entry becomes that plate's assets."""

import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import dagster as dg

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.catalogue.registration import renewed
from openhcs_dagster.failures import as_failure
from openhcs_dagster.keys import GRAPH_VERSION, RENEW_TAG, WELLS, PlateKeys
from openhcs_dagster.plate import checks
from openhcs_dagster.plate import metadata as records
from openhcs_dagster.plate.compilation import compile_entry
from openhcs_dagster.plate.fits import fit_asset
from openhcs_dagster.plate.lineage import upstream_tags, version_tags
from openhcs_dagster.plate.lost_wells import plan_again
from openhcs_dagster.plate.plan_changes import change_since_last
from openhcs_dagster.report import page as report_page
from openhcs_dagster.report import pictures as drawing
from openhcs_dagster.report import summary as report
from openhcs_dagster.report import wells_table
from openhcs_dagster.report.outcomes import Outcome, OutcomeLog
from openhcs_dagster.report.overview import draw_overview
from openhcs_dagster.resources import CatalogueResource, CodeLocation, DevicePool, inherit_search_path
from openhcs_dagster.storage.io_manager import WELLS_BACKEND, WELLS_FOLDER
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.execution.results import WellResult
from openhcs_engine.files.links import refuse_links_below
from openhcs_engine.memory.devices import DevicePolicy
from openhcs_engine.microscopes.plate_listing import PlateListing, read_listing
from openhcs_engine.model.system_errors import explained_with_file
from openhcs_engine.model.wording import listed_first
from openhcs_engine.output.layout import REPORT
from openhcs_engine.output.reading.published_wells import PlateWells
from openhcs_engine.plan.context import ProcessingContext

RETRIES: Final = 2
RETRY_AFTER_S: Final = 15.0
"""The folder is looked at again after so many seconds if its drive was away; nobody is there to do it at night."""
NAMED: Final = 12
"""Wells that a sentence names before it only counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateGraph:
    """The definitions of one plate."""

    assets: tuple[dg.AssetsDefinition, ...]
    checks: tuple[dg.AssetChecksDefinition, ...]


def plate_graph(entry: CatalogueEntry, *, host_has_gpus: bool = False) -> PlateGraph:
    """``plate_index → compiled_contexts → processed_wells → plate_report``, with the report's checks.

    What the pipeline fits once for the plate stands between its contexts and its wells.

    Touches neither the plate's folder nor its pipeline.
    """
    pool = entry.options.pool(host_has_gpus=host_has_gpus)
    with warnings.catch_warnings():
        # The backfill policy is "beta" since years; a line a plate at every load would hide warnings that matter.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = (
            _plate_index(entry),
            _compiled_contexts(entry),
            *(fit_asset(entry, name) for name in entry.fits),
            _processed_wells(entry, pool),
            _plate_report(entry),
        )
    return PlateGraph(assets=assets, checks=(checks.wells_are_current(entry), checks.wells_are_whole(entry)))


def _plate_index(entry: CatalogueEntry) -> dg.AssetsDefinition:
    @dg.asset(
        name="plate_index",
        kinds={"python", entry.microscope},
        metadata={"plate": entry.name or entry.id, "folder": dg.MetadataValue.path(entry.folder)},
        description="What the microscope left: the plate and the list of its planes. The only look at the folder.",
        key_prefix=[entry.id],
        group_name=entry.group,
        code_version=GRAPH_VERSION,
        retry_policy=dg.RetryPolicy(max_retries=RETRIES, delay=RETRY_AFTER_S),
    )
    @as_failure(f"reading plate {entry.id}")
    def plate_index(
        context: dg.AssetExecutionContext, catalogue: CatalogueResource, code_location: CodeLocation
    ) -> dg.Output[PlateListing]:
        with as_failure(f"reading plate {entry.id}", retries=True):
            listing = read_listing(entry.folder, entry.id, entry.reading)
        metadata = records.listing_metadata(listing)
        if listing.plate.wells != entry.wells:
            with as_failure(f"writing plate {entry.id} into the catalogue"):
                catalogue.open().replace(renewed(entry, listing))
            message = _other_wells(entry, listing, code_location.reload())
            if not set(entry.wells).issubset(listing.plate.wells):
                raise dg.Failure(message, allow_retries=False)
            # A failed run would show all its wells as Failed, those that are published, too: it goes on with them.
            context.log.warning(message)
            metadata["new wells"] = dg.MetadataValue.text(message)
        return dg.Output(listing, data_version=dg.DataVersion(listing.digest), metadata=metadata)

    return plate_index


def _other_wells(entry: CatalogueEntry, listing: PlateListing, reloaded: str) -> str:
    there = set(listing.plate.wells)
    missing = [well for well in entry.wells if well not in there]
    holds = f"Plate {entry.id}: the folder holds {len(there)} wells, but {len(entry.wells)} are registered"
    if missing:
        holds += f"; {listed_first(missing, NAMED)} {'is' if len(missing) == 1 else 'are'} no longer there"
        then = "Then start the plate again; what is published stays."
    else:
        then = "This run does the wells that were registered; start the plate again for the new ones."
    return f"{holds}. The catalogue now has the new list. {reloaded} {then}"


def _compiled_contexts(entry: CatalogueEntry) -> dg.AssetsDefinition:
    @dg.asset(
        name="compiled_contexts",
        kinds={"python", "json"},
        metadata={"pipeline": entry.pipeline},
        ins={"plate_index": dg.AssetIn(key=PlateKeys(entry.id).index)},
        description="What will happen to each well, completely: the pipeline compiled for this plate and frozen.",
        key_prefix=[entry.id],
        group_name=entry.group,
        code_version=GRAPH_VERSION,
    )
    @as_failure(f"compiling plate {entry.id}")
    def compiled_contexts(
        context: dg.AssetExecutionContext,
        plate_index: PlateListing,
        device_pool: DevicePool,
        io_manager: dg.ResourceParam[dg.IOManager],
        catalogue: CatalogueResource,
        code_location: CodeLocation,
    ) -> dg.Output[dict[str, ProcessingContext]]:
        try:
            compilation = compile_entry(entry, plate_index, device_pool.inventory())
        except OpenHCSError as error:
            raise dg.Failure(str(error), metadata=records.refusal_metadata(error), allow_retries=False) from None
        contexts = compilation.contexts
        names = tuple(plan.name for plan in next(iter(contexts.values())).fits)
        if names != entry.fits:
            with as_failure(f"writing plate {entry.id} into the catalogue"):
                known = catalogue.open()
                known.replace(replace(known.read(entry.id), fits=names))
            sentence = f"The pipeline fits {listed_first(names) or 'nothing'} once for the plate now."
            context.log.warning(f"{sentence} {code_location.reload()}")
        change = change_since_last(context.instance, io_manager, PlateKeys(entry.id).contexts, contexts)
        return dg.Output(
            contexts,
            data_version=dg.DataVersion(change.version),
            metadata={**records.plan_metadata(compilation, entry), "changes": dg.MetadataValue.md(change.summary)},
        )

    return compiled_contexts


def _processed_wells(entry: CatalogueEntry, pool: str | None) -> dg.AssetsDefinition:
    keys = PlateKeys(entry.id)

    @dg.asset(
        name=WELLS,
        kinds=set(entry.options.badges),
        partitions_def=dg.StaticPartitionsDefinition(entry.wells),
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        pool=pool,
        metadata={
            WELLS_FOLDER: str(entry.output_plan.folder),
            WELLS_BACKEND: entry.options.backend,
        },
        ins={"compiled_contexts": dg.AssetIn(key=keys.contexts)},
        deps=[keys.fit(name) for name in entry.fits],
        description="The wells, one partition each: a failing one fails alone, a current one is not computed again.",
        key_prefix=[entry.id],
        group_name=entry.group,
        code_version=GRAPH_VERSION,
    )
    def processed_wells(
        context: dg.AssetExecutionContext, compiled_contexts: dict[str, ProcessingContext], device_pool: DevicePool
    ) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
        with as_failure(f"running plate {entry.id}"):
            yield from device_pool.closed_with_run(_run_wells(entry, context, compiled_contexts, device_pool))

    return processed_wells


def _run_wells(
    entry: CatalogueEntry,
    context: dg.AssetExecutionContext,
    compiled_contexts: dict[str, ProcessingContext],
    device_pool: DevicePool,
) -> Generator[dg.AssetMaterialization | dg.AssetObservation, None, None]:
    keys = PlateKeys(entry.id)
    asked = _asked_wells(context.partition_keys, compiled_contexts)
    lineage = upstream_tags(context.instance, [keys.contexts, *map(keys.fit, entry.fits)])
    plate = next(iter(asked.values())).plate
    pictures = records.Pictures(entry, plate)
    outcomes: dict[str, Outcome] = {}
    try:
        renew = entry.options.renew or context.run.tags.get(RENEW_TAG) == "true"
        for result in _execute(entry, asked, device_pool, context.run.run_id, renew=renew):
            if result.well in outcomes:  # it was published, and the output does not hold it any more
                plan_again(context, keys.wells, result.well)
            outcomes[result.well] = Outcome.of(result, context.run.run_id)
            contents = records.well_conditions(plate.plate_map, result.well)
            if result.success:
                tags = {**lineage, **version_tags(GRAPH_VERSION, result.fingerprint)}
                numbers = records.well_numbers(entry, plate, result.well)
                described = {**pictures.metadata(result.well), **contents, **numbers}
                yield records.well_materialization(keys.wells, result, tags, described)
            else:
                context.log.error(result.error)
                yield records.well_failure(keys.wells, result, contents)
    finally:
        _record_outcomes(outcomes.values(), entry, context)
    if pictures.refused:
        context.log.warning(f"Wells that were published without a preview have none yet: {pictures.refused}")
    warned = {well: outcome.warnings for well, outcome in outcomes.items() if outcome.warnings}
    if warned:
        context.log.warning(records.wells_warned(warned))
    failed = {well: outcome.error or "" for well, outcome in outcomes.items() if outcome.error is not None}
    if failed:
        raise records.wells_failed(failed, len(asked))


def _record_outcomes(outcomes: Iterable[Outcome], entry: CatalogueEntry, context: dg.AssetExecutionContext) -> None:
    try:
        OutcomeLog(entry.output_plan.folder).record(context.run.run_id, outcomes)
    except OSError as error:  # a full disk, which must not hide why the wells failed
        context.log.error(
            "The report will not know how these wells ended, since that could not be written: "
            f"{explained_with_file(error)}."
        )


def _asked_wells(partitions: Sequence[str], contexts: dict[str, ProcessingContext]) -> dict[str, ProcessingContext]:
    if not partitions:
        # A range whose end lies before its start holds no key, and Dagster would call the run a success.
        raise dg.Failure("No wells were asked for: the range is empty or reversed.", allow_retries=False)
    unknown = [well for well in partitions if well not in contexts]
    if unknown:
        raise dg.Failure(
            f"The compiled contexts have no plan for {', '.join(unknown)}: materialize plate_index and "
            "compiled_contexts again, then these wells.",
            allow_retries=False,
        )
    return {well: contexts[well] for well in partitions}


def _execute(
    entry: CatalogueEntry,
    contexts: dict[str, ProcessingContext],
    device_pool: DevicePool,
    run_id: str,
    *,
    renew: bool,
) -> Iterator[WellResult]:
    from openhcs_engine.execution.run import execute_wells

    inherit_search_path(entry)
    policy, log = DevicePolicy(entry.options.device), dg.get_dagster_logger()
    with device_pool.lease(contexts, policy, entry.options.workers, log.warning) as leased:
        log.info(f"Wells run on {', '.join(device.label for device in leased)}.")
        yield from execute_wells(
            contexts,
            runner=entry.options.runner,
            devices=leased,
            policy=policy,
            pool=device_pool.pool(policy),
            run_id=run_id,
            well_timeout=entry.options.well_timeout,
            on_notice=log.warning,
            renew=renew,
        )


def _plate_report(entry: CatalogueEntry) -> dg.AssetsDefinition:
    keys = PlateKeys(entry.id)

    @dg.asset(
        name="plate_report",
        kinds={"html"},
        ins={
            "compiled_contexts": dg.AssetIn(key=keys.contexts),
            "processed_wells": dg.AssetIn(key=keys.wells),
        },
        description="The plate on one page: which wells are done, failed or missing, and what they look like.",
        key_prefix=[entry.id],
        group_name=entry.group,
        code_version=GRAPH_VERSION,
    )
    @as_failure(f"making the report of plate {entry.id}")
    def plate_report(
        context: dg.AssetExecutionContext, compiled_contexts: dict[str, ProcessingContext], processed_wells: PlateWells
    ) -> dg.MaterializeResult[None]:
        refuse_links_below(Path(entry.output), f"{entry.id}/{REPORT}")
        summary = report.summarise(entry, compiled_contexts, processed_wells)
        pictures, overview = drawing.draw(summary, processed_wells), draw_overview(entry)
        page, table = report_page.write_page(summary, pictures, overview), wells_table.write_table(summary)
        metadata = records.report_metadata(summary, pictures, page, table)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(summary.digest), metadata={**metadata, **records.overview_metadata(overview)}
        )

    return plate_report
