"""``openhcs-dagster``: register plates, run their asset graphs, serve the Dagster UI.

Exit codes: 0 all good; 1 some wells failed; 2 bad usage, unreadable plate, refused pipeline; 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry, CatalogueError
from openhcs_dagster.home import prepare_home, what_home_lacks
from openhcs_dagster.settings import Settings, refuse_links_in_home
from openhcs_engine.cli.app import OK, REFUSED, REGISTER, SOME_FAILED, CommandLine, Options, search_path, with_options
from openhcs_engine.errors import OpenHCSError
from openhcs_engine.microscopes.options import ReadOptions
from openhcs_engine.plan.run_options import RunOptions

if TYPE_CHECKING:
    from openhcs_dagster.cli.in_process import PlateRun

openhcs_dagster = CommandLine("openhcs-dagster", __doc__)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The plate's id, as `list` shows it.")]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")]


@openhcs_dagster.command()
@with_options(REGISTER)
def add(
    plate: Annotated[str, typer.Argument(metavar="PLATE", help="Folder of the plate, or its URL; only ever read.")],
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", metavar="MODULE:ATTRIBUTE", help="Found in the current folder and on PYTHONPATH."),
    ],
    plate_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Default: the folder's name.")] = None,
    output: Annotated[
        str, typer.Option("--output", metavar="DIR", help="A folder; gets DIR/<id>/ and nothing else.")
    ] = "openhcs_output",
    *,
    running: Options,
    reading: Options,
) -> int:
    """Register a plate: its asset graph appears in the UI at the next reload."""
    from openhcs_dagster.catalogue.registration import register

    settings = _settings()
    refuse_links_in_home(settings.home)
    _warn_of(what_home_lacks(settings.home))
    folders = search_path()
    openhcs_dagster.warn_of_open_folders("the pipeline folder", folders)
    entry = register(
        Catalogue(settings.catalogue),
        plate,
        pipeline=pipeline,
        output=output,
        plate_id=plate_id,
        search_path=folders,
        options=RunOptions(**running).beside(Path.cwd()),
        reading=ReadOptions.of(reading),
    )
    _add_fits(Catalogue(settings.catalogue), entry)
    print(f"Plate {entry.id} is registered with {len(entry.wells)} wells; results go to {entry.output_plan.folder}.")
    if entry.missing_planes:
        print(entry.missing_sentence.strip())
    return OK


@openhcs_dagster.command("list")
def list_() -> int:
    """Show the registered plates, and catalogue files that cannot be read; settle runs that lost their process."""
    from openhcs_dagster.cli.screen import print_catalogue

    settings = _settings()
    print_catalogue(Catalogue(settings.catalogue).list())
    if (settings.home / "dagster.yaml").is_file():  # without it there never was a run
        _prepare(settings.home)
        _settle()
    return OK


@openhcs_dagster.command()
def remove(plate_id: IdArgument) -> int:
    """Forget a plate. Its raw folder and its results stay."""
    entry = Catalogue(_settings().catalogue).remove(plate_id)
    print(f"Plate {entry.id} is forgotten; its results stay in {entry.output_plan.folder}.")
    return OK


@openhcs_dagster.command()
def materialize(
    plate_id: IdArgument,
    wells: Annotated[str | None, typer.Option("--wells", metavar="A01,B02", help="Only these wells.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Compute wells made before an update again, too.")] = False,
) -> int:
    """Run a plate's whole asset graph in this process, with its report; no server is needed."""
    settings = _prepared()
    entry = Catalogue(settings.catalogue).read(plate_id)
    _warn_of_pipelines([entry])
    asked = _wells_of(entry, wells)
    runs = [_materialize(entry, settings, asked, renew=renew)]
    if not asked and runs[0].refusal is None and (new := _wells_since(entry, settings)):
        one = len(new) == 1
        more = "1 more well than was registered; it runs" if one else f"{len(new)} more wells than registered; they run"
        print(f"The folder holds {more} now.")
        runs.append(_materialize(Catalogue(settings.catalogue).read(plate_id), settings, new))
    for run in runs:
        if run.refusal is not None:
            openhcs_dagster.complain(run.refusal)
            return REFUSED
    return SOME_FAILED if any(run.failed for run in runs) else OK


@openhcs_dagster.command()
def ui(port: PortOption = 3000) -> int:
    """Serve the Dagster UI and run sensors and schedules, on this machine only, until Ctrl-C."""
    from openhcs_dagster.ui.serving import serve

    settings = _prepared()
    _warn_of_pipelines(Catalogue(settings.catalogue).list())
    _settle()
    return serve(settings, port)


@openhcs_dagster.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where plate and results go.")] = Path("demo"),
) -> int:
    """Make a synthetic plate with one damaged well, count its nuclei by its asset graph, and show what happened."""
    from openhcs_dagster.cli.demo import counted, prepare_demo

    settings = _prepared()
    entry = prepare_demo(folder, Catalogue(settings.catalogue))
    run = _materialize(entry, settings, ())
    if run.refusal is not None:
        openhcs_dagster.complain(run.refusal)
        return REFUSED
    damaged = ", ".join(outcome.well for outcome in run.failed)
    print(
        f"\n{counted(folder)}."
        f"\nWell {damaged} failed alone, and that is the point of this demo: one of its images was cut short on "
        "purpose."
        "\nOpen the UI with `make ui` (or `openhcs-dagster ui`) and look at the asset group "
        f"{entry.group!r} on http://127.0.0.1:3000."
    )
    return OK


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    openhcs_dagster(arguments)


def _settings() -> Settings:
    settings = Settings.of(os.environ)
    for warning in settings.warnings:
        openhcs_dagster.complain(f"warning: {warning}")
    openhcs_dagster.warn_of_open_folders("the home", [settings.home])
    openhcs_dagster.warn_of_open_folders("the catalogue", [settings.catalogue])
    return settings


def _warn_of_pipelines(entries: Iterable[CatalogueEntry]) -> None:
    folders = {Path(folder) for entry in entries for folder in entry.search_path}
    openhcs_dagster.warn_of_open_folders("the pipeline folder", sorted(folders))


def _prepared() -> Settings:
    """The settings, with a home that exists and that Dagster will use."""
    settings = _settings()
    _warn_of(_prepare(settings.home))
    return settings


def _prepare(home: Path) -> str | None:
    """As ``prepare_home``; Dagster will use that home."""
    from openhcs_dagster.failures import home_errors

    os.environ["DAGSTER_HOME"] = str(home)
    with home_errors():
        return prepare_home(home)


def _add_fits(catalogue: Catalogue, entry: CatalogueEntry) -> None:
    """Write down what the plate's pipeline fits once, so that the graph shows it before the first run."""
    from openhcs_dagster.plate.compilation import fits_of_pipeline

    try:
        if fits := fits_of_pipeline(entry):
            catalogue.replace(replace(entry, fits=fits))
    except OpenHCSError as error:
        print(f"{error} Should it have plate steps, the graph shows them once the plate is compiled.", file=sys.stderr)


def _warn_of(lacking: str | None) -> None:
    if lacking:
        print(lacking, file=sys.stderr)


def _settle() -> None:
    """Runs that lost their process are shown as failed, and say so: they would keep others waiting for ever."""
    from openhcs_dagster.automation.lost_runs import fail_lost_runs
    from openhcs_dagster.cli.in_process import local_instance

    with local_instance() as instance:
        for run_id in fail_lost_runs(instance):
            openhcs_dagster.complain(
                f"Run {run_id[:8]} lost its process, which was killed or went with the machine while the run worked or "
                "before it began; it is marked as ended. Start its plate again, and the rest is done."
            )


def _wells_of(entry: CatalogueEntry, wells: str | None) -> tuple[str, ...]:
    from openhcs_engine.model.wells import normalise_well, plate_order

    if wells is None:
        return ()
    asked = {normalise_well(well.strip()) for well in wells.split(",") if well.strip()}
    unknown = sorted(asked - set(entry.wells), key=plate_order)
    if unknown or not asked:
        named = ", ".join(unknown) or repr(wells)
        raise CatalogueError(
            f"Plate {entry.id} has no well {named} (it has {entry.wells[0]} to {entry.wells[-1]}).",
            plate_id=entry.id,
        )
    return tuple(well for well in entry.wells if well in asked)


def _wells_since(entry: CatalogueEntry, settings: Settings) -> tuple[str, ...]:
    """Wells that the plate's entry got while it ran, since its folder had grown; none if it also lost some."""
    now = Catalogue(settings.catalogue).read(entry.id).wells
    grown = set(entry.wells) < set(now)
    return tuple(well for well in now if well not in entry.wells) if grown else ()


def _materialize(entry: CatalogueEntry, settings: Settings, wells: tuple[str, ...], *, renew: bool = False) -> PlateRun:
    from openhcs_dagster.cli.in_process import local_instance, materialize_plate
    from openhcs_dagster.cli.screen import PlateScreen

    with local_instance() as instance, PlateScreen(entry, len(wells) or len(entry.wells)) as screen:
        run = materialize_plate(
            entry, settings, instance, wells=wells, renew=renew, on_well=screen.show, on_note=openhcs_dagster.complain
        )
        screen.finish(run)
    return run
