"""``openhcs``: look at plates, compile pipelines, run them, verify what they wrote; see what a host computes with.

Exit codes: 0 all good; 1 some wells failed or are damaged; 2 bad usage, unreadable plate, refused compile; 130 Ctrl-C;
143 SIGTERM.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openhcs_engine.cli.app import OK, SOME_FAILED, SOME_STALE, CommandLine, Options, search_path, with_options
from openhcs_engine.model.completeness import with_missing

if TYPE_CHECKING:
    from openhcs_engine.model.image_index import ImageIndex
    from openhcs_engine.model.plate import Plate
    from openhcs_engine.orchestrator import PipelineOrchestrator
    from openhcs_engine.pipeline import Pipeline

openhcs = CommandLine("openhcs", __doc__)


class LayoutName(StrEnum):
    """Layouts of synthetic plates."""

    IMAGEXPRESS = "imagexpress"
    PHENIX = "phenix"
    CELLVOYAGER = "cellvoyager"
    OMEZARR = "omezarr"


PlateFolderArgument = Annotated[
    str, typer.Argument(metavar="PLATE", help="Folder of the plate, or its URL (s3://…); only ever read.")
]
PipelineOption = Annotated[
    str, typer.Option("--pipeline", metavar="MODULE:ATTRIBUTE", help="Found in the current folder and on PYTHONPATH.")
]
OutputOption = Annotated[
    str,
    typer.Option("--output", metavar="DIR", help="Gets DIR/<plate id>/ and nothing else; or a URL (s3://bucket/dir)."),
]
EarlierOutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="DIR", help="Where results will go; what earlier runs there measured predicts the time."
    ),
]
PlanArgument = Annotated[
    str, typer.Argument(metavar="PLAN", help="A plan document, or a plate's output folder: then its newest plan.")
]
WellsOption = Annotated[
    str | None,
    typer.Option(
        "--wells", metavar="A01,row:B", help="Only these wells: names, row:A-C, col:1-6, A01:B06, not:A03, or a number."
    ),
]
PlateIdOption = Annotated[str | None, typer.Option("--plate-id", metavar="ID", help="Default: the folder's name.")]
PositionsOption = Annotated[
    bool, typer.Option(help="Stage positions and heights; some formats keep them in every image, which takes a while.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@openhcs.command()
@with_options("inspect")
def inspect(
    plate: PlateFolderArgument,
    as_json: JsonOption = False,
    positions: PositionsOption = True,
    *,
    reading: Options,
) -> int:
    """Show what a plate folder holds, what is missing, and what is odd."""
    from openhcs_engine.cli.plate import inspection, print_inspection
    from openhcs_engine.cli.printing import print_json

    orchestrator = _orchestrator(plate, **reading)
    found, index = orchestrator.locate() if positions else orchestrator.read
    found = replace(found, warnings=(*found.warnings, *orchestrator.unstored_parts()))
    if as_json:
        print_json(inspection(found, index))
    else:
        print_inspection(found, index)
    return OK


@openhcs.command()
@with_options("planes")
def planes(
    plate: PlateFolderArgument,
    as_json: JsonOption = False,
    positions: PositionsOption = True,
    *,
    reading: Options,
) -> int:
    """List every plane and projection of a plate, those that are missing included."""
    from openhcs_engine.cli.plate import plane_rows, print_planes
    from openhcs_engine.cli.printing import print_json

    whole = with_missing(*_read(plate, positions, reading))
    if as_json:
        print_json(plane_rows(whole))
    else:
        print_planes(whole)
    return OK


@openhcs.command("compile")
@with_options("compile")
def compile_(
    plate: PlateFolderArgument,
    pipeline: PipelineOption,
    wells: WellsOption = None,
    output: EarlierOutputOption = None,
    plate_id: PlateIdOption = None,
    *,
    running: Options,
    reading: Options,
    as_json: JsonOption = False,
) -> int:
    """Decide everything that would happen to each well, or say every reason why it cannot."""
    from openhcs_engine.cli.plan import explanation, print_plan
    from openhcs_engine.output.timings import measured_for
    from openhcs_engine.plan.document import contexts_to_json

    settings = running.pop("set")
    orchestrator = _orchestrator(plate, output=output, plate_id=plate_id, **running, **reading)
    declared = _pipeline(pipeline, settings, orchestrator.plate)
    compilation = orchestrator.compile(declared, well_filter=wells)
    measured = measured_for(compilation.contexts)
    if as_json:
        sys.stdout.write(contexts_to_json(compilation.contexts, explanation(compilation, measured)).decode() + "\n")
    else:
        print_plan(compilation, measured)
    return OK


@openhcs.command()
def diff(before: PlanArgument, after: PlanArgument, as_json: JsonOption = False) -> int:
    """Show what changed between two plans of a plate, and which wells go stale by it.

    Exit codes: 0 no well goes stale; 1 some do; 2 one of them is no plan that can be read.
    """
    from openhcs_engine.cli.diff import compare_given, comparison_document, print_comparison
    from openhcs_engine.cli.printing import print_json

    compared = compare_given(before, after)
    if as_json:
        print_json(comparison_document(compared))
    else:
        print_comparison(compared)
    return SOME_STALE if compared.diff.stale else OK


@openhcs.command()
@with_options("run")
def run(
    plate: PlateFolderArgument,
    pipeline: PipelineOption,
    output: OutputOption,
    wells: WellsOption = None,
    plate_id: PlateIdOption = None,
    *,
    running: Options,
    reading: Options,
) -> int:
    """Compile and execute: one OME-Zarr plate, each well published by itself; finished wells are not computed again."""
    from openhcs_engine.cli.run import RunScreen
    from openhcs_engine.output.pictures.overview import write_overview

    settings = running.pop("set")
    orchestrator = _orchestrator(plate, output=output, plate_id=plate_id, **running, **reading)
    declared = _pipeline(pipeline, settings, orchestrator.plate)
    compilation = orchestrator.compile(declared, well_filter=wells)
    with RunScreen(compilation) as screen:
        for result in orchestrator.execute(declared, compilation.contexts, on_notice=screen.note):
            screen.add(result)
    if isinstance(orchestrator.output, Path):
        write_overview(orchestrator.output / orchestrator.plate.plate_id)
    else:
        sys.stderr.write("note: no overview of the plate is drawn for an output behind a URL\n")
    return SOME_FAILED if screen.failed else OK


@openhcs.command("try")
@with_options("try")
def try_(
    plate: PlateFolderArgument,
    pipeline: PipelineOption,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME=VALUE,VALUE",
            help="Values of a setting to compare, as segment.threshold=otsu,800; several combine. ; separates lists.",
        ),
    ] = None,
    wells: WellsOption = None,
    site: Annotated[int | None, typer.Option("--site", metavar="N", help="Shown of each well; default: first.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the choice of wells.")] = 0,
    page: Annotated[
        Path, typer.Option("--page", metavar="FILE", help="The page that is written; one of this name is replaced.")
    ] = Path("try.html"),
    *,
    running: Options,
    reading: Options,
) -> int:
    """Compare values of settings on a few wells on one page; publish nothing.

    Without --wells: a negative and a positive control and one well at random, by the plate map.
    """
    from openhcs_engine.cli.trial import try_settings

    return try_settings(
        plate,
        pipeline,
        lambda settings, read: _pipeline(pipeline, settings, read),
        vary=vary or (),
        wells=wells,
        site=site,
        seed=seed,
        page=page,
        running=running,
        reading=reading,
    )


@openhcs.command()
def synth(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Becomes the plate's folder; the truth lies beside it.")
    ],
    rows: Annotated[int, typer.Option("--rows", min=1, max=32)] = 4,
    columns: Annotated[int, typer.Option("--columns", min=1, max=48)] = 6,
    sites: Annotated[int, typer.Option("--sites", min=1)] = 2,
    channels: Annotated[str, typer.Option("--channels", metavar="DAPI,GFP")] = "DAPI,GFP",
    z: Annotated[int, typer.Option("--z", min=1, help="Planes of a stack.")] = 3,
    timepoints: Annotated[int, typer.Option("--timepoints", min=1)] = 1,
    size: Annotated[int, typer.Option("--size", min=32, help="Edge of an image in pixels.")] = 256,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    layout: Annotated[LayoutName, typer.Option("--layout", help="Whose files to write.")] = LayoutName.IMAGEXPRESS,
    truncated: Annotated[str, typer.Option("--truncated", metavar="C05", help="Wells with an image cut in half.")] = "",
    vignette: Annotated[bool, typer.Option("--vignette", help="Uneven light, which the truth has as arrays.")] = False,
    overlap: Annotated[
        float | None,
        typer.Option("--overlap", metavar="0.1", help="A well's sites are windows of one scene; share of an edge."),
    ] = None,
    jitter: Annotated[
        float,
        typer.Option("--jitter", metavar="PX", help="With --overlap: how far true positions may be off the stage's."),
    ] = 0.0,
    touching: Annotated[bool, typer.Option("--touching", help="Nuclei in touching pairs.")] = False,
    touching_radii: Annotated[
        float | None,
        typer.Option("--touching-radii", metavar="1.7", help="The same, with the centres so many mean radii apart."),
    ] = None,
    cells: Annotated[
        bool,
        typer.Option("--cells", help="Cells: nuclei in the first channel, bodies in the second, spots in the last."),
    ] = False,
) -> int:
    """Write a synthetic plate with planted objects, control columns and known truth.

    --vignette, --overlap, --touching and --cells combine. With any of them the objects are nuclei whose outline is
    known to the pixel, and the truth has tables of them; without, they are blurred spots.
    """
    from openhcs_engine.model.wells import normalise_well
    from openhcs_engine.synthetic import LAYOUTS, SyntheticPlate, truth_folder, truth_path
    from openhcs_engine.synthetic.scene import scene_of

    spec = SyntheticPlate(
        name=folder.name,
        rows=rows,
        columns=columns,
        sites=sites,
        channels=tuple(name.strip() for name in channels.split(",")),
        z=z,
        timepoints=timepoints,
        shape=(size, size),
        seed=seed,
        truncated_wells=tuple(normalise_well(well.strip()) for well in truncated.split(",") if well.strip()),
        scene=scene_of(
            vignette=vignette,
            overlap=overlap,
            jitter_px=jitter,
            touching=touching if touching_radii is None else touching_radii,
            cells=cells,
        ),
    )
    written = LAYOUTS[layout.value](folder, spec)
    sys.stdout.write(f"plate: {written}\ntruth: {truth_path(written)}\n")
    if spec.scene is not None:
        sys.stdout.write(f"tables and light: {truth_folder(written)}\n")
    return OK


@openhcs.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A plate's output folder, or its URL (s3://…).")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop the damaged wells, so that the next run makes just them again.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Check a plate's output: is every well that was asked for there and whole?

    Exit codes: 0 all whole; 1 wells are missing or damaged; 2 no output folder. With --repair, 0 says that nothing
    damaged is left; the wells that it dropped are made by the next run.
    """
    from openhcs_engine.cli.printing import print_json
    from openhcs_engine.cli.verify import print_repair, print_verification, verification
    from openhcs_engine.output.verification.repair import repair as drop_damaged
    from openhcs_engine.output.verification.verify import verify as check

    report = check(output)
    mended = drop_damaged(output, report) if repair else None
    if as_json:
        print_json(verification(report, mended))
    else:
        print_verification(report)
        print_repair(mended)
    good = report.ok if mended is None else mended.ok
    return OK if good else SOME_FAILED


@openhcs.command()
def overview(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A plate's output folder.")],
    channel: Annotated[str | None, typer.Option("--channel", metavar="NAME", help="Default: the first.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Draw all published wells in one channel as one small OME-Zarr image, on one grey scale."""
    from openhcs_engine.cli.overview import overview_document, print_overview
    from openhcs_engine.cli.printing import print_json
    from openhcs_engine.output.opening import folder_of
    from openhcs_engine.output.pictures.overview import choose_overview

    made = choose_overview(folder_of(output), channel)
    if as_json:
        print_json(overview_document(made))
    else:
        print_overview(made)
    return OK


@openhcs.command()
def memory(
    as_json: JsonOption = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Import each library, and convert a small stack from each to each.")
    ] = False,
) -> int:
    """Show array libraries, devices, the ways between libraries, and what workers are born with."""
    from openhcs_engine.cli import memory as memory_output
    from openhcs_engine.cli.printing import print_json
    from openhcs_engine.memory.devices import find_inventory

    report = memory_output.look(find_inventory())
    if probe:
        report = replace(report, probes=memory_output.probe())
    if as_json:
        print_json(memory_output.memory_document(report))
    else:
        memory_output.print_memory(report)
    return OK


def _orchestrator(plate: str, **options: Any) -> PipelineOrchestrator:  # Any: the orchestrator's own keyword types
    from openhcs_engine.orchestrator import PipelineOrchestrator

    return PipelineOrchestrator(plate, **options).initialize()


def _read(plate: str, positions: bool, reading: Options) -> tuple[Plate, ImageIndex]:
    orchestrator = _orchestrator(plate, **reading)
    return orchestrator.locate() if positions else orchestrator.read


def _pipeline(reference: str, settings: dict[str, object], plate: Plate) -> Pipeline:
    from openhcs_engine.pipeline import load_pipeline

    folders = search_path()
    openhcs.warn_of_open_folders("the pipeline folder", folders)
    pipeline = load_pipeline(reference, folders[:1], settings, [channel.label for channel in plate.channels])
    # A package's module lies below those folders, an installed one elsewhere.
    file = getattr(sys.modules.get(reference.partition(":")[0]), "__file__", None)
    openhcs.warn_of_open_folders("the pipeline folder", [Path(file).parent] if file else [])
    return pipeline


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding shows µ as \\xb5
    openhcs()
