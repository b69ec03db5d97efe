"""The code location: the graphs of all plates in the catalogue, and what starts them."""

import logging

import dagster as dg

from openhcs_dagster.automation.jobs import reports_job
from openhcs_dagster.automation.run_executor import patient_executor
from openhcs_dagster.automation.schedules import nightly_schedule
from openhcs_dagster.automation.sensors import lost_runs, new_plates_sensor, report_sensors
from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.failures import as_sentence
from openhcs_dagster.plate.assets import plate_graph
from openhcs_dagster.resources import CatalogueResource, CodeLocation, DevicePool, current_settings, host_has_gpus
from openhcs_dagster.settings import MEMORY, Settings
from openhcs_dagster.storage.io_manager import VfsIOManager


def build_definitions(settings: Settings) -> dg.Definitions:
    """Definitions of all plates that the catalogue holds now; broken entries are named and left out."""
    with as_sentence("loading the plates of the catalogue"):
        catalogue = Catalogue(settings.catalogue).list()
    for broken in catalogue.broken:
        logging.getLogger(__name__).warning(str(broken))
    plates = catalogue.entries
    gpus = host_has_gpus()
    graphs = [plate_graph(entry, host_has_gpus=gpus) for entry in plates]
    reports = reports_job(plates) if plates else None
    return dg.Definitions(
        assets=[asset for graph in graphs for asset in graph.assets],
        asset_checks=[check for graph in graphs for check in graph.checks],
        jobs=[reports] if reports is not None else [],
        sensors=[*report_sensors(reports), new_plates_sensor(settings.inbox_file, plates), lost_runs],
        # Without any asset there is no job of all assets for the schedule to name.
        schedules=[
            nightly_schedule(
                plates, settings.nightly, settings.timezone, settings.schedule_faults, memory=settings.home / MEMORY
            )
        ]
        if plates
        else [],
        resources=build_resources(settings),
        executor=patient_executor,
        metadata={
            "broken catalogue entries": "\n".join(map(str, catalogue.broken)) or "none",
            "environment": "\n".join(settings.warnings) or "nothing is wrong with it",
        },
    )


def build_resources(settings: Settings) -> dict[str, object]:
    """What the assets and sensors of this deployment are given."""
    return {
        "io_manager": VfsIOManager(backend="disk", root=str(settings.values)),
        "catalogue": CatalogueResource(folder=str(settings.catalogue)),
        "code_location": CodeLocation(webserver=settings.webserver, address_file=str(settings.address_file)),
        "device_pool": DevicePool(),
    }


defs = build_definitions(current_settings())
