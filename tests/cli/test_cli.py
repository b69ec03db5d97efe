"""The command ``openhcs`` as its users see it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

SPEC = SyntheticPlate(name="small", rows=2, columns=2, sites=2, z=2, shape=(40, 48), truncated_wells=("B02",))

PIPELINES = """
import time
from openhcs_engine import FunctionStep, GroupBy, Pipeline, VariableComponents
from openhcs_engine.functions import create_composite, create_max_projection
from openhcs_engine.memory import cupy, jax, torch

@torch(output_type="jax")
def to_jax(stack):
    return stack

@jax(slice_by_slice=True)
def in_jax(stack):
    return stack

@cupy
def on_gpu(stack):
    return stack

def plain(stack):
    return stack

def slow(stack):
    time.sleep(30 if stack[0, 0, 0] >= 0 and (stack.sum() % 2 >= 0) and WAIT() else 0)
    return stack

def WAIT():
    from pathlib import Path
    started = Path("started")
    first = not started.exists()
    started.touch()
    return not first

project = Pipeline([FunctionStep(create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
composite = Pipeline([*project, FunctionStep(create_composite, variable_components=[VariableComponents.CHANNEL])])
unknown_channel = Pipeline([FunctionStep({"Cy5": create_max_projection, "DAPI": create_max_projection})])
slow_second = Pipeline([FunctionStep(slow, variable_components=[VariableComponents.SITE, VariableComponents.CHANNEL,
                                                                VariableComponents.Z_INDEX])])
mixed = Pipeline([FunctionStep(plain), FunctionStep([to_jax, in_jax])])
gpu_only = Pipeline([FunctionStep(on_gpu)])
broken = 1
"""


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four wells, one of them with a truncated image."""
    return write_imagexpress(tmp_path_factory.mktemp("plates") / "small", SPEC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the user stands: a folder with a file of pipelines."""
    (tmp_path / "lab.py").write_text(PIPELINES)
    return tmp_path


def command(*arguments: object) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "openhcs_engine.cli", *map(str, arguments)]


def openhcs(folder: Path, *arguments: object) -> Ended:
    """Run the command in a folder."""
    done = subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=240, env=_environment()
    )
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.mark.parametrize(
    ("module", "name"), [("openhcs_engine.cli", "openhcs"), ("openhcs_dagster.cli", "openhcs-dagster")]
)
def test_the_commands_tell_their_version(folder: Path, module: str, name: str) -> None:
    """That of the distribution, and no command is needed for it."""
    line = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=240, env=_environment())

    assert done.returncode == 0
    assert done.stdout.split() == [name, version("openhcs-dagster")]


def test_inspect_prints_the_contract(folder: Path, plate: Path) -> None:
    """The keys, types and values that programs rely on."""
    found = json.loads(openhcs(folder, "inspect", plate, "--json").out)

    expected = {
        "plate_id": "small",
        "microscope": "imagexpress",
        "wells": ["A01", "A02", "B01", "B02"],
        "sites": [1, 2],
        "z_indexes": [1, 2],
        "timepoints": [1],
        "pixel_size_um": 0.65,
        "grid": {"rows": 1, "columns": 2},
        "shape": [40, 48],
        "dtype": "uint16",
        "missing": [],
        "errors": [],
    }
    assert {key: found[key] for key in expected} == expected
    assert [(channel["index"], channel["name"]) for channel in found["channels"]] == [(1, "DAPI"), (2, "GFP")]
    assert isinstance(found["warnings"], list)


def test_planes_prints_the_contract(folder: Path, plate: Path) -> None:
    """One row a plane, with the path relative to the plate."""
    rows = json.loads(openhcs(folder, "planes", plate, "--json").out)

    assert len(rows) == 4 * 2 * 2 * 2
    assert set(rows[0]) >= {"well", "site", "channel", "z_index", "timepoint", "path", "kind", "present"}
    assert all((plate / row["path"]).is_file() and row["kind"] == "plane" and row["present"] for row in rows)


def test_people_get_tables(folder: Path, plate: Path) -> None:
    """The same without --json."""
    assert "0.65 µm a pixel" in openhcs(folder, "inspect", plate).out
    assert "A01" in openhcs(folder, "planes", plate).out
    assert "create_max_projection" in openhcs(folder, "compile", plate, "--pipeline", "lab:project").out


def test_run_publishes_the_good_wells_and_exits_1_for_a_bad_one(folder: Path, plate: Path) -> None:
    """Then verify names the missing well; a second run computes nothing anew."""
    ended = openhcs(folder, "run", plate, "--pipeline", "lab:composite", "--output", folder / "out")

    assert ended.code == 1
    assert "3 done, 1 failed" in ended.out and "Well B02" in ended.err
    assert [path.name for path in (folder / "out").iterdir()] == ["small"]
    assert {path.name for path in (folder / "out" / "small").iterdir()} <= {
        "images.zarr", "contexts", "wells", "logs", "tables", "report",
    }  # fmt: skip
    checked = openhcs(folder, "verify", folder / "out" / "small")
    assert checked.code == 1 and "well B02" in checked.out
    again = openhcs(folder, "run", plate, "--pipeline", "lab:composite", "--output", folder / "out")
    assert "0 done, 3 unchanged, 1 failed" in again.out


def test_run_of_chosen_wells_as_tiff_in_threads(folder: Path, plate: Path) -> None:
    """All options at once; what was asked for is whole, so verify is content."""
    arguments = ["run", plate, "--pipeline", "lab:project", "--output", folder / "out", "--wells", "a1,B01"]
    arguments += ["--workers", 1, "--runner", "threads", "--backend", "disk", "--plate-id", "P-7"]

    assert openhcs(folder, *arguments).code == 0
    assert {path.name for path in (folder / "out" / "P-7" / "images").iterdir()} == {"A01", "B01"}
    assert openhcs(folder, "verify", folder / "out" / "P-7").code == 0


def test_verify_tells_whole_damaged_and_foreign_apart(folder: Path, plate: Path) -> None:
    """0 whole, 1 damaged or missing, 2 not an output."""
    openhcs(folder, "run", plate, "--pipeline", "lab:project", "--output", folder / "out", "--wells", "A01,A02")
    output = folder / "out" / "small"
    assert openhcs(folder, "verify", output).code == 0

    files = [path for path in (output / "images.zarr" / "A" / "02").rglob("*") if path.is_file()]
    shard = max(files, key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-7])
    damaged = openhcs(folder, "verify", output)
    assert damaged.code == 1 and "A02" in damaged.out and "A01:" not in damaged.out
    assert openhcs(folder, "verify", plate).code == 2
    assert openhcs(folder, "verify", folder / "nowhere").code == 2


def test_compile_prints_the_plan_document(folder: Path, plate: Path) -> None:
    """What --json prints is read back as contexts."""
    from openhcs_engine.plan.document import contexts_from_json

    ended = openhcs(folder, "compile", plate, "--pipeline", "lab:composite", "--json", "--wells", "A01")

    assert list(contexts_from_json(ended.out.encode())) == ["A01"]


def test_compile_explains_arrays_conversions_and_devices(folder: Path, plate: Path) -> None:
    """In the JSON below ``explained``, beside the plan document; the same as a table for people."""
    arguments = ["compile", plate, "--pipeline", "lab:mixed", "--device", "cpu"]
    note = "lab:plain has no decorator and counts as a NumPy function; put @numpy from openhcs_engine.memory on it."

    ended = openhcs(folder, *arguments, "--json")
    assert ended.code == 0, ended.err
    explained = json.loads(ended.out)["explained"]
    told = openhcs(folder, *arguments).out

    assert explained["notes"] == [note]
    plain, mixed = explained["steps"]
    assert (plain["devices"], mixed["devices"]) == ({"cpu": 4}, {"cpu": 4})
    assert plain["routes"][0]["conversions"] == [] and not plain["routes"][0]["calls"][0]["declared"]
    assert mixed["routes"][0]["conversions"] == ["numpy -> torch: DLPack", "jax -> numpy: DLPack"]
    assert [(call["input_type"], call["output_type"]) for call in mixed["routes"][0]["calls"]] == [
        ("torch", "jax"), ("jax", "jax"),
    ]  # fmt: skip
    assert "numpy -> torch: DLPack" in told and "torch -> jax" in told and "cpu: 4 wells" in told and note in told


def test_an_unknown_device_is_refused_with_those_that_are_known(folder: Path, plate: Path) -> None:
    """By compile and by run."""
    for command_name in (["compile"], ["run", "--output", folder / "out"]):
        ended = openhcs(folder, *command_name, plate, "--pipeline", "lab:project", "--device", "tpu")

        assert ended.code == 2
        assert all(device in ended.err for device in ("auto", "cpu", "gpu_required"))


def test_functions_that_need_a_gpu_are_refused_for_the_cpu(folder: Path, plate: Path) -> None:
    """Before anything runs, and in a sentence."""
    ended = openhcs(folder, "run", plate, "--pipeline", "lab:gpu_only", "--output", folder / "out", "--device", "cpu")

    assert ended.code == 2 and not (folder / "out").exists()
    assert 'Step 1 "on_gpu": on_gpu works on GPUs only' in ended.err


def test_synth_writes_a_plate(folder: Path) -> None:
    """With the sizes asked for, and the truth beside it."""
    ended = openhcs(folder, "synth", folder / "made", "--rows", 1, "--columns", 2, "--z", 1, "--size", 64)

    assert ended.code == 0 and "truth:" in ended.out
    assert json.loads(openhcs(folder, "inspect", folder / "made", "--json").out)["wells"] == ["A01", "A02"]


def test_synth_writes_a_scene_and_says_where_its_truth_lies(folder: Path) -> None:
    """All options of a scene combine, and a reader finds the plate."""
    ended = openhcs(
        folder, "synth", folder / "scene", "--rows", 1, "--columns", 1, "--z", 1, "--sites", 4, "--size", 200,
        "--layout", "phenix", "--vignette", "--overlap", 0.2, "--jitter", 7.5, "--touching", "--cells",
    )  # fmt: skip

    assert ended.code == 0 and f"tables and light: {folder / 'scene.truth'}" in ended.out
    stated = json.loads((folder / "scene.truth.json").read_text())["spec"]["scene"]
    assert (stated["overlap"], stated["jitter_px"], stated["touching"], stated["cells"]) == (0.2, 7.5, 1.7, True)
    assert stated["vignette"] > 0
    assert json.loads(openhcs(folder, "inspect", folder / "scene", "--json").out)["wells"] == ["A01"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--overlap", 0.5), "above 0 and below 0.5, not 0.5"),
        (("--overlap", 0.1, "--jitter", -2), "0 or more, not -2"),
        (("--jitter", 4), "give an overlap, too"),
        (("--touching-radii", 3), "1.2 to 1.75 mean radii"),
        (("--cells", "--channels", "DAPI"), "at least two channels"),
        (("--truncated", "H12"), "not on the plate: H12"),
    ],
)
def test_synth_refuses_what_cannot_be(folder: Path, options: tuple[object, ...], sentence: str) -> None:
    """In a sentence, before anything is written."""
    ended = openhcs(folder, "synth", folder / "refused", *options)

    assert ended.code == 2 and sentence in ended.err
    assert not (folder / "refused").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_which_signal_ended_a_command(number: signal.Signals, code: int) -> None:
    """Also where a library held the signal back and raised its own interruption later, as Dagster does."""
    program = f"""
import os, signal
from openhcs_engine.cli.app import CommandLine
line = CommandLine("line", "A command.")
@line.command()
def wait() -> int:
    signal.signal({number}, lambda *_: None)
    os.kill(os.getpid(), {number})
    raise KeyboardInterrupt
@line.command()
def other() -> int:
    return 0
line(["wait"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)

    assert done.returncode == code, done.stderr
    assert "stopped; wells that were published stay whole" in done.stderr and "Traceback" not in done.stderr


def test_ctrl_c_keeps_published_wells_and_exits_130(folder: Path, plate: Path) -> None:
    """The well that was done stays whole, the one in work leaves nothing."""
    arguments = command(
        "run", plate, "--pipeline", "lab:slow_second", "--output", folder / "out", "--workers", 1, "--wells", "A01,A02"
    )
    process = subprocess.Popen(arguments, cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True)
    manifest = folder / "out" / "small" / "wells" / "A01.json"
    wait_for(manifest.exists, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)

    assert process.returncode == 130 and "stopped" in err and "Traceback" not in err
    assert manifest.exists() and not (folder / "out" / "small" / ".staging").exists()
    checked = openhcs(folder, "verify", folder / "out" / "small")
    assert checked.code == 1 and "1 of 2 wells whole" in checked.out


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something holds, as long as the process runs."""
    import time

    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def _nothing(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return ["inspect", folder / "empty"]


def _not_a_plate(folder: Path) -> list[object]:
    (folder / "text").mkdir()
    (folder / "text" / "readme.txt").write_text("hello")
    return ["inspect", folder / "text"]


def _several(folder: Path) -> list[object]:
    for name in ("one", "two"):
        write_imagexpress(folder / "several" / name, SyntheticPlate(name=name, rows=1, columns=1, shape=(32, 32)))
    return ["inspect", folder / "several"]


def _run(
    folder: Path, plate: Path, *options: object, pipeline: str = "lab:project", output: object = None
) -> list[object]:
    return ["run", plate, "--pipeline", pipeline, "--output", output or folder / "out", *options]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f, p: _nothing(f), "empty"),
        (lambda f, p: _not_a_plate(f), "is not a plate: none of its 1 files fits"),
        (lambda f, p: ["inspect", f / "nowhere"], "There is no folder"),
        (lambda f, p: ["inspect", f / "lab.py"], "lab.py is a file; give the plate folder"),
        (lambda f, p: _several(f), "one, two"),
        (lambda f, p: _run(f, p, pipeline="lab:unknown_channel"), "'Cy5' is not on this plate (has: DAPI, GFP)"),
        (lambda f, p: _run(f, p, "--wells", "H12"), "Well 'H12' of the well filter is not on this plate"),
        (lambda f, p: _run(f, p, "--wells", "potato"), "'potato' is not the name of a well"),
        (lambda f, p: _run(f, p, pipeline="nowhere:project"), "No module 'nowhere' was found"),
        (lambda f, p: _run(f, p, pipeline="lab:absent"), "has no attribute 'absent'"),
        (lambda f, p: _run(f, p, pipeline="lab:broken"), "has a int, no pipeline"),
        (lambda f, p: _run(f, p, pipeline="lab"), "write module:attribute"),
        (lambda f, p: _run(f, p, output=p / "out"), "inside the raw plate"),
        (lambda f, p: _run(f, p, output="/proc/out"), "/proc/out"),
        (lambda f, p: _run(f, p, output=f / "lab.py"), "lab.py"),
        (lambda f, p: _run(f, p, "--plate-id", "a/b"), "'a/b' cannot be a plate id"),
        (lambda f, p: _run(f, p, "--plate-id", "a..b"), "'a..b' cannot be a plate id"),
        (lambda f, p: _run(f, p, "--plate-id", "a\x07b"), "cannot be a plate id"),
        (lambda f, p: _run(f, p, "--plate-id", ""), "cannot be a plate id"),
        (lambda f, p: _run(f, p, "--backend", "floppy"), "floppy"),
        (lambda f, p: _run(f, p, "--workers", 0), "workers"),
        (lambda f, p: ["run", p], "pipeline"),
        (lambda f, p: ["dance"], "dance"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(
    folder: Path, plate: Path, make: Callable[[Path, Path], list[object]], sentence: str
) -> None:
    """Exit code 2, the reason on standard error, no traceback, nothing written."""
    ended = openhcs(folder, *make(folder, plate))

    assert ended.code == 2 and sentence in " ".join(ended.err.split())
    assert not (folder / "out").exists()


def test_a_read_only_output_is_refused(folder: Path, plate: Path) -> None:
    """Nothing runs if nothing can be kept. (The superuser may write anywhere but to a read-only file system.)"""
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.access(locked, os.W_OK):
        locked = Path("/sys/firmware")
        if not locked.is_dir():
            pytest.skip("no place that the superuser cannot write to")

    ended = openhcs(folder, *_run(folder, plate, output=locked / "out"))

    assert ended.code == 2 and str(locked) in ended.err


def test_a_full_disk_fails_wells_with_that_sentence(folder: Path, plate: Path) -> None:
    """A small file system runs full before the run: refused, with the numbers."""
    small = folder / "tiny"
    small.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode
    ):
        pytest.skip("no right to mount a small file system here")
    try:
        ended = openhcs(folder, *_run(folder, plate, output=small))
    finally:
        subprocess.run(["umount", small], check=True)

    assert ended.code == 2 and "free" in ended.err
