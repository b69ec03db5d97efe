"""``openhcs-dagster``: exit codes and what it says."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_dagster.cli.commands import main
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

PIPELINE = """
from openhcs_engine import FunctionStep, Pipeline, VariableComponents
from openhcs_engine.functions import create_max_projection
pipeline = Pipeline([FunctionStep(func=create_max_projection, variable_components=[VariableComponents.Z_INDEX])])
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a pipeline and a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENHCS_CATALOGUE", raising=False)
    (tmp_path / f"pipe_{tmp_path.name}.py").write_text(PIPELINE)
    return tmp_path


def plate(lab: Path, name: str = "P001", **spec: object) -> Path:
    wanted = {"rows": 1, "columns": 3, "sites": 1, "z": 2, "shape": (64, 64), **spec}
    return write_imagexpress(lab / "raw" / name, SyntheticPlate(name=name, **wanted))  # type: ignore[arg-type]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def add(lab: Path, folder: Path, *more: str) -> int:
    pipeline = f"pipe_{lab.name}:pipeline"
    return run("add", str(folder), "--pipeline", pipeline, "--output", str(lab / "out"), "--runner", "threads", *more)


def test_a_plate_is_added_listed_and_removed(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The catalogue's whole life through the command line."""
    assert add(lab, plate(lab), "--id", "mine") == 0
    assert run("list") == 0
    assert "mine" in capsys.readouterr().out

    assert run("remove", "mine") == 0
    assert run("list") == 0
    assert "No plate is registered" in capsys.readouterr().out


def test_a_wrong_clock_is_a_warning_of_every_command(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, with what would be right; the command goes on."""
    monkeypatch.setenv("OPENHCS_TIMEZONE", "Europe/Zuerich")

    assert run("list") == 0

    ended = capsys.readouterr()
    assert ended.err.count("OPENHCS_TIMEZONE='Europe/Zuerich'") == 1 and "Europe/Zurich." in ended.err


def test_a_listed_plate_is_one_line_however_long_its_paths_are(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes into a pipe is neither cut nor folded at 80 columns."""
    folder = plate(lab / "a_rather_long_name_of_a_folder" / "and_another_one_below_it_for_good_measure")
    add(lab, folder, "--id", "deep")
    capsys.readouterr()

    assert run("list") == 0

    (line,) = [line for line in capsys.readouterr().out.splitlines() if " deep " in line]
    assert str(folder) in line
    assert str(lab / "out" / "deep") in line


def test_materialize_runs_the_whole_graph_and_exits_0(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good plate ends with its report, and the table says where it lies."""
    add(lab, plate(lab))

    assert run("materialize", "P001") == 0

    assert (lab / "out" / "P001" / "report" / "index.html").is_file()
    assert "report" in capsys.readouterr().out


def test_materialize_exits_1_if_a_well_failed_and_names_it(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other wells are written and the report is made."""
    add(lab, plate(lab, truncated_wells=("A02",)))

    assert run("materialize", "P001") == 1

    assert "A02" in capsys.readouterr().out
    assert (lab / "out" / "P001" / "wells" / "A01.json").is_file()
    assert not (lab / "out" / "P001" / "wells" / "A02.json").exists()
    assert (lab / "out" / "P001" / "report" / "index.html").is_file()


def test_materialize_takes_some_wells(lab: Path) -> None:
    """Only the wells that were named are written, in any spelling."""
    add(lab, plate(lab))

    assert run("materialize", "P001", "--wells", "a1,A3") == 0

    assert sorted(path.stem for path in (lab / "out" / "P001" / "wells").glob("*.json")) == ["A01", "A03"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["materialize", "nobody"], "No plate 'nobody' is registered (known: P001)"),
        (["materialize", "P001", "--wells", "H12"], "has no well H12 (it has A01 to A03)"),
        (["materialize", "P001", "--wells", "x"], "'x' is not the name of a well"),
        (["materialize", "P001", "--wells", ","], "has no well"),
        (["remove", "nobody"], "No plate 'nobody'"),
        (["add", "{raw}", "--pipeline", "a:b"], "registered already"),
        (["add", "{raw}", "--pipeline", "a:b", "--id", "p001"], "'p001' is the same as 'P001'"),
        (["add", "{raw}", "--pipeline", "a:b", "--id", "a/b"], "cannot be a plate id"),
        (["add", "{raw}", "--pipeline", "ab", "--id", "x"], "module:attribute"),
        (["add", "{raw}", "--pipeline", "a:b", "--id", "x", "--backend", "tape"], "'tape' is not a backend"),
        (["add", "{raw}", "--pipeline", "a:b", "--id", "x", "--output", "{raw}/out"], "lies inside the raw plate"),
        (["add", "nowhere", "--pipeline", "a:b"], "nowhere"),
    ],
)
def test_bad_usage_exits_2_with_a_sentence(
    lab: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """Every refusal says what was wrong, without a traceback."""
    folder = plate(lab)
    add(lab, folder)

    code = run(*(argument.replace("{raw}", str(folder)) for argument in arguments))

    told = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in told
    assert sentence in told


def test_a_pipeline_that_cannot_be_imported_exits_2(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plate is registered without importing its pipeline; running it says what is wrong with it."""
    assert run("add", str(plate(lab)), "--pipeline", "absent:pipeline", "--output", str(lab / "out")) == 0

    assert run("materialize", "P001") == 2

    assert "No module 'absent'" in capsys.readouterr().err


def test_a_taken_port_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The UI does not start on a port that is in use, and says how to choose another."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        assert run("ui", "--port", str(port)) == 2

    assert "--port" in capsys.readouterr().err


def planted_in(truth: Path, wells: list[str]) -> int:
    """Objects of some wells of a synthetic plate."""
    known = json.loads(truth.read_text(encoding="utf-8"))["wells"]
    return sum(len(spots) for well in wells for spots in known[well]["sites"].values())


@pytest.mark.slow
def test_the_demo_ends_well_with_one_failed_well(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits 0 though its damaged well failed, says that this is its point, and can be repeated.

    It counts the nuclei of the other wells within 2 % of those that were planted there.
    """
    assert run("demo") == 0
    first = capsys.readouterr().out
    assert run("demo") == 0

    assert "C04 failed alone, and that is the point" in first
    wells = sorted(path.stem for path in (lab / "demo" / "results" / "demo_plate" / "wells").glob("*.json"))
    assert len(wells) == 23
    assert "C04" not in wells
    found = re.search(r"(\d+) nuclei in 23 wells; (\d+) were planted there", first)
    assert found and abs(int(found[1]) - int(found[2])) <= 0.02 * int(found[2])
    assert int(found[2]) == planted_in(lab / "demo" / "plates" / "demo_plate.truth.json", wells)
    assert (lab / "demo" / "results" / "demo_plate" / "report" / "index.html").stat().st_size > 10_000


@pytest.mark.parametrize("arguments", [["dance"], ["add"], ["materialize"], ["add", "x", "--wrong"]])
def test_bad_usage_of_the_command_itself_exits_2(
    lab: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """An unknown command or option, a missing argument: the usage, and no traceback."""
    assert run(*arguments) == 2
    told = capsys.readouterr().err
    assert "Usage" in told and "Traceback" not in told


def test_reading_options_are_kept_with_the_plate(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `add` was told about reading and gaps is in the entry, paths made absolute; wrong ones are refused."""
    folder = plate(lab)
    (lab / "map.csv").write_text("Well,Compound\nA01,DMSO\n")
    more = ["--plate-map", "map.csv", "--on-missing", "skip", "--projections", "ignore", "--microscope", "imagexpress"]

    assert run("add", str(folder), "--pipeline", "a:b", "--id", "kept", *more) == 0
    entry = Catalogue(lab / "home" / "plates").read("kept")

    assert entry.reading.microscope == "imagexpress" and Path(str(entry.reading.plate_map)).is_absolute()
    assert (entry.options.on_missing, entry.options.projections) == ("skip", "ignore")
    assert run("add", str(folder), "--pipeline", "a:b", "--id", "other", "--on-missing", "hope") == 2
    assert "choose one of error, skip, blank" in capsys.readouterr().err
    assert run("add", str(folder), "--pipeline", "a:b", "--id", "other", "--microscope", "abacus") == 2
    assert "choose from imagexpress" in capsys.readouterr().err


def test_a_url_as_output_is_refused_at_once(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, before the plate is read, and nothing is registered."""
    assert run("add", str(lab / "nowhere"), "--pipeline", "a:b", "--output", "s3://bucket/results") == 2

    said = capsys.readouterr().err
    assert "The output s3://bucket/results is a URL, but Dagster keeps a plate's report, locks and lineage" in said
    assert len(said.splitlines()) == 1
    assert not list(Catalogue(lab / "home" / "plates").list())


def test_add_keeps_fsync_and_the_channel_of_the_overview(lab: Path) -> None:
    """Both reach the plate's entry, and with it every run of the plate."""
    assert add(lab, plate(lab), "--fsync", "--overview-channel", "GFP") == 0

    entry = Catalogue(lab / "home" / "plates").read("P001")

    assert (entry.options.fsync, entry.output_plan.fsync, entry.options.overview_channel) == (True, True, "GFP")


def test_add_tells_what_an_old_home_lacks(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A home without the lines that free a killed run's place is told of where plates are added; a new one is quiet."""
    assert add(lab, plate(lab)) == 0
    assert "earlier version" not in capsys.readouterr().err
    (lab / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    assert add(lab, plate(lab, "P002")) == 0

    said = capsys.readouterr().err
    assert "dagster.yaml was made by an earlier version; add these lines to it" in said
    assert "run_monitoring:" in said


def test_wells_that_came_since_the_plate_was_added_are_run_too(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says so and ends with all wells done, those of the first run not computed again."""
    folder = plate(lab)
    later = [path for path in folder.rglob("*") if path.is_file() and "_A03_" in path.name]
    (lab / "later").mkdir()
    moved = [(path, path.rename(lab / "later" / f"{number}.tif")) for number, path in enumerate(later)]
    assert later and add(lab, folder) == 0
    for path, kept in moved:
        kept.rename(path)

    assert run("materialize", "P001") == 0

    told = capsys.readouterr().out
    assert "The folder holds 1 more well than was registered; it runs now." in told
    assert sorted(path.stem for path in (lab / "out" / "P001" / "wells").iterdir()) == ["A01", "A02", "A03"]
