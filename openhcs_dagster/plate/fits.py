"""What is fitted once a plate, as assets between its plan and its wells."""

from typing import Final

import dagster as dg

from openhcs_dagster.catalogue.catalogue import CatalogueEntry
from openhcs_dagster.failures import as_failure, sentence_of
from openhcs_dagster.keys import FIT_TAG, GRAPH_VERSION, PlateKeys
from openhcs_dagster.plate.metadata import image
from openhcs_dagster.resources import inherit_search_path
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.model.wording import listed_first
from openhcs_engine.output.fits.record import FitRecord
from openhcs_engine.output.opening import open_output
from openhcs_engine.plan.context import ProcessingContext

FAILED_FIT: Final = "failed fit"
"""Key in the metadata of a fit's failure."""
_NAMED: Final = 6
"""Images that are named before they are only counted."""


def fit_asset(entry: CatalogueEntry, name: str) -> dg.AssetsDefinition:
    """The result of one plate step; a run of wells that finds it missing makes it, too."""

    keys = PlateKeys(entry.id)

    @dg.asset(
        name=name,
        kinds={"python"},
        ins={"compiled_contexts": dg.AssetIn(key=keys.contexts)},
        description="Fitted once, on a sample of the plate that the plan names; functions of its wells are given it.",
        key_prefix=[entry.id],
        group_name=entry.group,
        code_version=GRAPH_VERSION,
        op_tags={FIT_TAG: "true"},
        check_specs=[
            dg.AssetCheckSpec(
                "fitted_on_all_images",
                asset=keys.fit(name),
                description="As many images were read as the sample was asked for.",
            )
        ],
    )
    @as_failure(f"fitting {name} of plate {entry.id}")
    def fit(context: dg.AssetExecutionContext, compiled_contexts: dict[str, ProcessingContext]) -> dg.MaterializeResult:  # type: ignore[type-arg] # beside checks, Dagster refuses MaterializeResult[None]
        from openhcs_engine.execution.fits.plate import fit_plate

        if name not in {plan.name for plan in next(iter(compiled_contexts.values())).fits}:
            sentence = (
                f"The pipeline has no plate step {name!r} any more; a reload of the code location removes it here."
            )
            context.log.warning(sentence)
            passed = dg.AssetCheckResult(passed=True, check_name="fitted_on_all_images", description=sentence)
            return dg.MaterializeResult(metadata={"note": sentence}, check_results=[passed])
        inherit_search_path(entry)
        try:
            record = fit_plate(compiled_contexts, name, runner=entry.options.runner, on_notice=context.log.info)
        except (OpenHCSError, OSError) as error:
            reason = sentence_of(error, f"fitting {name}")
            raise dg.Failure(reason, metadata={FAILED_FIT: name}, allow_retries=False) from None
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.fingerprint),
            metadata=fit_metadata(entry, record),
            check_results=[_check(record)],
        )

    return fit


def fit_metadata(entry: CatalogueEntry, record: FitRecord) -> dict[str, dg.MetadataValue]:
    """What a person asks of a fit."""
    missing = [f"{each.path}: {each.reason}" for each in record.missing]
    metadata: dict[str, dg.MetadataValue] = {
        "function": dg.MetadataValue.text(record.function),
        "parameters": dg.MetadataValue.json(record.parameters.thaw()),
        "images used": dg.MetadataValue.int(len(record.used)),
        "images missing": dg.MetadataValue.int(len(missing)),
        "fingerprint": dg.MetadataValue.text(record.fingerprint),
        "path": dg.MetadataValue.path(str(entry.output_plan.folder / record.folder)),
        "seconds": dg.MetadataValue.float(float(record.seconds)),
    }
    if missing:
        metadata["missing"] = dg.MetadataValue.md("\n".join(f"- {each}" for each in missing[:_NAMED]))
    for part in record.parts:
        numbers = ", ".join(f"{value.name or record.name} {value.number}" for value in part.values if not value.path)
        if numbers:
            metadata[f"values {part.label}".strip()] = dg.MetadataValue.text(numbers)
    if record.picture:
        fits = open_output(entry.output_plan.folder, entry.options.backend).fits
        metadata["picture"] = image(fits.read(record.picture), record.name)
    return metadata


def _check(record: FitRecord) -> dg.AssetCheckResult:
    """Amber where the fit is partial, or its function has a doubt."""
    sentence = listed_first(record.remarks, _NAMED, "; ")
    images = ", ".join(f"{part.images} {part.label}".strip() for part in record.parts)
    return dg.AssetCheckResult(
        passed=not record.remarks,
        check_name="fitted_on_all_images",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{sentence}."
        if sentence
        else f"All {record.asked} images that were asked for were read ({images}).",
        metadata={"asked": record.asked, "used": len(record.used), "missing": len(record.missing)},
    )
