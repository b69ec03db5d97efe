"""What the metadata of an OME-Zarr plate cost: to create, to open and list, and to add a well.

    python benchmarks/plate_metadata.py [--fields 9] [--with ngio ome-zarr] [--own-environments] [--json FILE]

Every program makes the same plate: groups of plate, rows, wells and images, and the metadata of three resolutions of
an image of 1080 x 1080 pixels, without pixels. It does so in a process of its own, and with --own-environments in an
environment into which pip installs nothing but it; on 96, 384 and 1536 wells, in a folder in memory where there is one.
CPU time of the process is counted, imports left out. ngio and ome-zarr-py are measured on fewer wells, because they are
slow; what is printed, plate by plate, is per field and per well. All of it takes one to two minutes.

*create* is CPU time per field; *grows* is that of the largest plate over that of the smallest, 1.0 where it is linear.
*open* is the time to open a plate of 384 wells and list them. *add* is the time to write one more well into it, which
should not depend on how many there are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import string
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

SHAPE: Final = (1, 2, 1, 1080, 1080)
SIZES: Final = {"ours": (96, 384, 1536), "ours 0.4": (96, 384, 1536), "ngio": (6, 24), "ome-zarr": (6, 24)}
"""Wells of the plates that each program makes."""
LONGEST_S: Final = 100
"""Of one program on one plate; what takes longer is left out, and said."""
OPENED: Final = 384
REPEAT: Final = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every program in processes of its own and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=9)
    parser.add_argument("--with", dest="others", nargs="*", default=["ngio", "ome-zarr"], choices=["ngio", "ome-zarr"])
    parser.add_argument("--own-environments", action="store_true", help="install the others apart")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=3, metavar=("PROGRAM", "WELLS", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        program, wells, folder = chosen.measure
        print(json.dumps(measure(program, int(wells), chosen.fields, Path(folder))))
        return
    print(f"{'program':12}{'wells':>7}{'create ms/field':>17}{'open ms':>10}{'add ms/well':>13}", flush=True)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as environments:
        for program in ("ours", "ours 0.4", *chosen.others):
            apart = chosen.own_environments and program in chosen.others
            python = _install(program, Path(environments)) if apart else sys.executable
            found[program] = _measure_all(python, program, chosen.fields)
            print_growth(found[program], found["ours"])
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


def _install(program: str, environments: Path) -> str:
    """The interpreter of a new environment with one program in it."""
    folder = environments / program
    print(f"{program}: installing into an environment of its own ...", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", program], check=True)
    return python


def _measure_all(python: str, program: str, fields: int) -> list[dict[str, Any]]:
    memory = Path("/dev/shm")
    results = []
    for wells in SIZES[program]:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            command = [python, __file__, "--fields", str(fields), "--measure", program, str(wells), folder]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
            except subprocess.TimeoutExpired:
                print(f"{program:12}{wells:7.0f}  left out: it took more than {LONGEST_S} s", flush=True)
                break
        if done.returncode:
            print(f"{program}: {done.stderr.splitlines()[-1] if done.stderr else 'failed'}", file=sys.stderr)
            break
        results.append({"wells": wells, **json.loads(done.stdout.splitlines()[-1])})
        print_line(program, results[-1])
    return results


def measure(program: str, wells: int, fields: int, folder: Path) -> dict[str, float | None]:
    """Costs of one program on one plate, ms."""
    create, open_plate = PROGRAMS[program]
    names = _names(wells)
    create(folder / "warm", names[:2], 1)  # imports and caches
    started = time.process_time()
    create(folder / "plate", names, fields)
    created = (time.process_time() - started) * 1e3
    listed = min(_timed(open_plate, folder / "plate") for _ in range(REPEAT))
    added = [cost for _ in range(REPEAT) if (cost := _add_a_well(program, folder, names, fields)) is not None]
    return {"create_per_field": created / (wells * fields), "open": listed, "add": min(added, default=None)}


def _timed(call: Callable[[Path], int], folder: Path) -> float:
    started = time.perf_counter()
    call(folder)
    return (time.perf_counter() - started) * 1e3


def _add_a_well(program: str, folder: Path, names: list[str], fields: int) -> float | None:
    """One more well beside the others, without the plate's list; other programs write all wells again."""
    if not program.startswith("ours"):
        return None
    shutil.rmtree(folder / "plate" / names[-1][:-2] / names[-1][-2:])
    started = time.process_time()
    _our_well(folder / "plate", names[-1], fields, program)
    return (time.process_time() - started) * 1e3


def _names(wells: int) -> list[str]:
    """A01 … AF48; without our own package, which other programs' environments lack."""
    rows = {6: 2, 24: 4, 96: 8, 384: 16, 1536: 32}[wells]
    letters = [*string.ascii_uppercase, *(f"A{letter}" for letter in string.ascii_uppercase)]
    return [f"{letter}{column:02d}" for letter in letters[:rows] for column in range(1, wells // rows + 1)]


# -- ours ---


def _create_ours(ngff: str) -> Callable[[Path, list[str], int], None]:
    def create(folder: Path, wells: list[str], fields: int) -> None:
        from openhcs_engine.model.plate import Plate
        from openhcs_engine.ngff.plate_group import PlateGroup
        from openhcs_engine.ngff.writing.plate_store import ImageOptions, write_plate_groups

        plate = Plate(
            plate_id="P1", name="P1", microscope="", root="", wells=tuple(wells), sites=tuple(range(1, fields + 1)),
            channels=(), z_indexes=(1,), timepoints=(1,),
        )  # fmt: skip
        for well in wells:
            _our_well(folder, well, fields, "ours" if ngff == "0.5" else "ours 0.4")
        write_plate_groups(folder, PlateGroup.of(plate, ImageOptions(ngff=ngff), wells), wells)

    return create


def _our_well(folder: Path, well: str, fields: int, program: str) -> None:
    """All metadata of a well whose planes are absent."""
    import numpy as np

    from openhcs_engine.ngff.groups import write_group
    from openhcs_engine.ngff.metadata import ChannelLook, PixelScale, well_attributes, well_path
    from openhcs_engine.ngff.options import ImageOptions
    from openhcs_engine.ngff.stack_axes import StackAxes
    from openhcs_engine.ngff.writing.field_writer import FieldWriter

    options = ImageOptions(ngff="0.4" if program.endswith("0.4") else "0.5")
    axes = StackAxes(timepoints=(1,), channels=(1, 2), z_indexes=(1,))
    looks = [ChannelLook(label=label, low=0, high=4000) for label in ("DAPI", "GFP")]
    place = folder / well_path(well)
    for field in range(fields):
        writer = FieldWriter(place / str(field), options)
        writer.expect((1080, 1080), np.dtype(np.uint16))
        writer.finish(f"{well}/{field}", axes, PixelScale(pixel_size_um=0.65), looks, {"site": field, "absent": []})
    write_group(place, "", well_attributes(well, {str(field): field for field in range(fields)}), options.ngff)


def _open_ours(folder: Path) -> int:
    from openhcs_engine.ngff.reading.reader import open_plate

    return len(list(open_plate(folder)))


# -- ngio ---


def _create_ngio(folder: Path, wells: list[str], fields: int) -> None:
    import ngio
    from ngio import ImageInWellPath

    images = [
        ImageInWellPath(row=well[:-2], column=well[-2:], path=str(field)) for well in wells for field in range(fields)
    ]
    plate = ngio.create_empty_plate(str(folder), name="P1", images=images, overwrite=True)
    for image in images:
        store = plate.get_image_store(row=image.row, column=image.column, image_path=image.path)
        ngio.create_empty_ome_zarr(
            store, shape=SHAPE, pixelsize=0.65, axes_names="tczyx", levels=3, dtype="uint16", overwrite=True
        )


def _open_ngio(folder: Path) -> int:
    import ngio

    return len(ngio.open_ome_zarr_plate(str(folder), mode="r").get_wells())


# -- ome-zarr-py ---


def _create_ome_zarr(folder: Path, wells: list[str], fields: int) -> None:
    import zarr
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_multiscales_metadata, write_plate_metadata, write_well_metadata

    version = FormatV05()
    root = zarr.open_group(str(folder), mode="w", zarr_format=3)
    rows, columns = sorted({well[:-2] for well in wells}), sorted({well[-2:] for well in wells})
    write_plate_metadata(root, rows, columns, [f"{well[:-2]}/{well[-2:]}" for well in wells], version)
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    for well in wells:
        group = root.require_group(f"{well[:-2]}/{well[-2:]}")
        write_well_metadata(group, [{"path": str(field)} for field in range(fields)], version)
        for field in range(fields):
            image = group.require_group(str(field))
            datasets: list[dict[str, Any]] = []
            for level in range(3):
                shape = (*SHAPE[:-2], SHAPE[-2] >> level, SHAPE[-1] >> level)
                image.create_array(str(level), shape=shape, chunks=(1, 1, 1, 540, 540), dtype="uint16")
                scale = [1.0, 1.0, 1.0, 0.65 * 2**level, 0.65 * 2**level]
                datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
            write_multiscales_metadata(image, datasets, version, axes)


def _open_ome_zarr(folder: Path) -> int:
    from ome_zarr.io import parse_url

    return len(parse_url(str(folder)).root_attrs["plate"]["wells"])


Program = tuple[Callable[[Path, list[str], int], None], Callable[[Path], int]]
PROGRAMS: Final[dict[str, Program]] = {
    "ours": (_create_ours("0.5"), _open_ours),
    "ours 0.4": (_create_ours("0.4"), _open_ours),
    "ngio": (_create_ngio, _open_ngio),
    "ome-zarr": (_create_ome_zarr, _open_ome_zarr),
}


def print_line(program: str, result: dict[str, Any]) -> None:
    """One plate, as soon as it is measured."""
    added = "" if result["add"] is None else f"{result['add']:.2f}"
    print(
        f"{program:12}{result['wells']:7.0f}{result['create_per_field']:17.3f}{result['open']:10.2f}{added:>13}",
        flush=True,
    )


def print_growth(results: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    """Whether a field costs more on a larger plate, and the program against ours at the largest plate of each."""
    if len(results) > 1:
        grows = results[-1]["create_per_field"] / results[0]["create_per_field"]
        against = results[-1]["create_per_field"] / ours[-1]["create_per_field"] if ours else float("nan")
        print(f"{'':12}grows {grows:.2f}, create {against:.1f} x ours", flush=True)


if __name__ == "__main__":
    main()
