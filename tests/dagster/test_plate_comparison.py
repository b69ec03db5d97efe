"""How a night compares plates with their plans: by few processes, with the verdicts of as many as there are plates."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_dagster.automation import staleness
from openhcs_dagster.automation.staleness import FORK, START, Verdict, compare_plates
from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.catalogue.registration import register
from openhcs_engine.memory.framework_environment import ONE_THREAD
from openhcs_engine.synthetic import SyntheticPlate, write_imagexpress

CURRENT = "All its wells are current."
DUE = "1 wells are missing, failed or stale."
STEP = """
from openhcs_engine import FunctionStep, Pipeline
from openhcs_engine.memory import numpy
{head}
@numpy
def step(stack):
    return stack + {value}
pipeline = Pipeline([FunctionStep(step)])
"""
RUN = """
import sys
from pathlib import Path
from openhcs_dagster.catalogue.catalogue import Catalogue
from openhcs_engine import PipelineOrchestrator
from openhcs_engine.pipeline.load import load_pipeline
entry = Catalogue(Path(sys.argv[1])).read(sys.argv[2])
orchestrator = PipelineOrchestrator(entry.folder, output=entry.output, plate_id=entry.id, runner="threads").initialize()
pipeline = load_pipeline(entry.pipeline, entry.search_path)
(result,) = orchestrator.execute_compiled_plate(pipeline, orchestrator.compile_pipelines(pipeline)).values()
assert result.success, result.error
"""


def lab_use(value: str = "1", head: str = "") -> str:
    """A module with a pipeline, and what it does when it is imported."""
    return STEP.format(value=value, head=textwrap.dedent(head))


class Labs:
    """Plates of one well, and folders with a module ``lab_use`` that has a pipeline."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalogue = Catalogue(root / "plates")

    def write(self, lab: str, files: Mapping[str, str] | str) -> Path:
        """Write modules of a lab, or its ``lab_use`` alone."""
        folder = self.root / lab
        folder.mkdir(exist_ok=True)
        for name, text in ({"lab_use.py": files} if isinstance(files, str) else files).items():
            (folder / name).write_text(text.replace("LAB", str(folder)))
        return folder

    def plate(self, name: str, lab: str, files: Mapping[str, str] | str | None = None) -> CatalogueEntry:
        """Register a plate with a lab's pipeline; with ``files`` the lab gets them."""
        spec = SyntheticPlate(name=name, rows=1, columns=1, sites=1, z=1, channels=("DAPI",), shape=(32, 32))
        plate = write_imagexpress(self.root / "raw" / name, spec)
        folder = self.root / lab if files is None else self.write(lab, files)
        return register(
            self.catalogue, plate, pipeline="lab_use:pipeline", output=self.root / "out", search_path=[folder]
        )

    def run(self, *entries: CatalogueEntry) -> None:
        """Publish plates, each by a process that knows nothing of the others."""
        started = [
            subprocess.Popen([sys.executable, "-c", RUN, str(self.catalogue.folder), entry.id]) for entry in entries
        ]
        assert [process.wait(120) for process in started] == [0] * len(entries)

    def processed(self, name: str, lab: str, files: Mapping[str, str] | str | None = None) -> CatalogueEntry:
        """A plate that has an output, so that its pipeline is asked; what it holds does not matter."""
        entry = self.plate(name, lab, files)
        entry.output_plan.folder.mkdir(parents=True)
        return entry

    def compare(self, **options: int) -> dict[str, Verdict]:
        """The verdicts of all plates."""
        return {each.plate_id: each for each in compare_plates(self.catalogue.list().entries, budget_s=600, **options)}


@pytest.fixture
def labs(tmp_path: Path) -> Labs:
    """No plate yet."""
    return Labs(tmp_path)


# Verdicts are those of a process of its own


@dataclass(frozen=True, kw_only=True)
class Case:
    """A lab, and a change after which its wells are stale."""

    name: str
    files: Mapping[str, str]
    changed: str = "lab_help.py"
    old: str = "100"
    new: str = "999"
    plates: int = 1


HELP = "def offset():\n    return 100\n"
CASES = (
    Case(
        name="a helper",
        files={"lab_use.py": lab_use("lab_help.offset()", "import lab_help"), "lab_help.py": HELP},
    ),
    Case(
        name="another helper of the same name",
        files={
            "lab_use.py": lab_use("lab_help.offset()", "import lab_help"),
            "lab_help.py": "N = 100\ndef offset():\n    return N + 1\n",
        },
    ),
    Case(
        name="a file that is read when a module is imported",
        files={
            "lab_use.py": lab_use("lab_help.N", "import lab_help"),
            "lab_help.py": "from pathlib import Path\nN = len(Path(r'LAB/table.csv').read_text())\n",
            "table.csv": "100,200",
        },
        changed="table.csv",
        new="1000",
        plates=2,
    ),
    Case(
        name="an array of a module",
        files={
            "lab_use.py": lab_use("lab_help.TABLE[3]", "import lab_help"),
            "lab_help.py": "import numpy as np\nTABLE = np.arange(100)\n",
        },
    ),
    Case(
        name="a folder that the module adds to the search path",
        files={
            "lab_use.py": lab_use("lab_deep.N", "import sys\nsys.path.insert(0, r'LAB/deep')\nimport lab_deep"),
            "deep/lab_deep.py": "N = 100\n",
        },
        changed="deep/lab_deep.py",
    ),
    Case(
        name="a table to which a module adds that is imported when the function is called",
        files={
            "lab_use.py": lab_use(
                "more()", "import lab_table\ndef more():\n    import lab_help\n    return lab_table.TABLE['n']"
            ),
            "lab_table.py": "TABLE = {'n': 1}\n",
            "lab_help.py": "import lab_table\nlab_table.TABLE['n'] = 100\n",
        },
        plates=2,
    ),
)


def test_a_comparison_finds_what_processes_that_know_one_plate_published(
    labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plates are current by the fingerprints of fresh processes, and stale after a change: by either way."""
    entries = []
    for number, case in enumerate(CASES):
        (labs.root / f"lab{number}" / "deep").mkdir(parents=True)
        entries += [labs.plate(f"P{number}_{copy}", f"lab{number}", case.files) for copy in range(case.plates)]
    labs.run(*entries)

    unchanged = labs.compare()
    for number, case in enumerate(CASES):
        file = labs.root / f"lab{number}" / case.changed
        assert case.old in file.read_text()
        file.write_text(file.read_text().replace(case.old, case.new))
    changed = labs.compare(at_once=1)
    monkeypatch.setattr(staleness, "WAY", START)

    assert {plate: verdict.reason for plate, verdict in unchanged.items()} == dict.fromkeys(unchanged, CURRENT)
    assert {plate: verdict.reason for plate, verdict in changed.items()} == dict.fromkeys(changed, DUE)
    assert labs.compare() == changed


# Processes


NOTES = """
import os
with open(r'{file}', 'a') as notes:
    print(os.getpid(), os.getppid(), file=notes)
"""
"""A module writes down which process imports it."""


@pytest.mark.parametrize("way", [FORK, START])
def test_plates_of_one_pipeline_share_its_import_and_other_pipelines_get_processes_of_their_own(
    labs: Labs, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Six plates, asked one at a time: three imports of three labs, all by children of one process."""
    monkeypatch.setattr(staleness, "WAY", way)
    notes = labs.root / "notes"
    module = lab_use(head=NOTES.format(file=notes))
    entries = [labs.plate(f"P{number}", f"lab{number % 3}", module) for number in range(6)]
    for entry in entries:
        publish_here(entry)
    notes.write_text("")

    verdicts = labs.compare(at_once=1)

    assert {verdict.reason for verdict in verdicts.values()} == {CURRENT}
    imports = [line.split() for line in notes.read_text().splitlines()]
    assert len({process for process, _ in imports}) == len(imports) == 3
    assert len({parent for _, parent in imports}) == 1
    assert str(os.getpid()) not in {number for line in imports for number in line}


def test_what_a_process_does_not_find_current_is_asked_of_a_new_one(labs: Labs) -> None:
    """A value that comparing the first plate changed: the second is compared with a fresh import."""
    head = """
        import sys
        TABLE = {"n": 1}
        def look(event, arguments):
            if event == "open" and "/P1/" in str(arguments[0]):
                TABLE["n"] = 2
        sys.addaudithook(look)
    """
    labs.processed("P1", "lab", lab_use("TABLE['n']", head))
    labs.run(labs.plate("P2", "lab"))

    verdicts = labs.compare(at_once=1)

    assert list(verdicts) == ["P1", "P2"] and verdicts["P2"].reason == CURRENT


def test_verdicts_are_told_as_they_come(labs: Labs) -> None:
    """By the thread that asks for them, each once; what is returned is in the order of the plates."""
    entries = [labs.plate(name, "lab", lab_use()) for name in ("P2", "P1")]
    told: list[tuple[int, str]] = []

    verdicts = compare_plates(
        entries, budget_s=600, on_verdict=lambda verdict: told.append((threading.get_ident(), verdict.plate_id))
    )

    assert [verdict.plate_id for verdict in verdicts] == ["P2", "P1"]
    assert sorted(told) == [(threading.get_ident(), "P1"), (threading.get_ident(), "P2")]


# Pipelines that do anything


ODD = {
    "syntax": ("def step(:\n", "SyntaxError"),
    "exits": ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
    "interrupts": ("raise KeyboardInterrupt('stop')\n", "KeyboardInterrupt: stop"),
    "ends": ("import os, sys\nprint('full of it', file=sys.stderr, flush=True)\nos._exit(3)\n", "exit code 3"),
    "ends_well": ("import os\nos._exit(0)\n", "exit code 0"),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
    "closes": ("import os\nos.closerange(0, 99)\n", "The process ended"),
    "forks": ("import os, time\nif not os.fork():\n    time.sleep(500)\nos._exit(5)\n", "exit code 5"),
    "loops": ("while True:\n    pass\n", "did not end within"),
    "deleted": ("", "No module 'lab_use'"),
}
"""Modules that cannot be imported, each with what its plate's verdict says."""
HARMLESS = {
    "prints": "import sys\nprint('x' * 200_000)\nprint('x' * 200_000, file=sys.stderr)\n",
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(500,)).start()\n",
    "moves": "import os\nos.chdir('/')\nos.environ['LAB_MODE'] = 'odd'\n",
    "paths": "import sys\nsys.path[:0] = ['/nowhere']\nsys.stdout = sys.stderr = None\n",
    "patches": "import openhcs_dagster.automation.staleness\nopenhcs_dagster.automation.staleness.wells_now = None\n",
    "reads": "try:\n    input()\nexcept EOFError:\n    pass\n",
}
"""What a module may do to its own process alone."""


def test_a_pipeline_that_fails_is_its_own_plates_reason_and_the_others_go_on(
    labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each odd plate is named with what happened; sound ones before, between and after them are current."""
    monkeypatch.setattr(staleness, "IMPORT_S", 8.0)
    sound = [labs.plate(f"{letter}0_sound", f"lab_{letter}", lab_use()) for letter in "aez"]
    for entry in sound:
        publish_here(entry)
    for name, (text, _) in ODD.items():
        labs.processed(name, name, text)
    (labs.root / "deleted" / "lab_use.py").unlink()
    for name, text in HARMLESS.items():
        labs.processed(name, name, lab_use(head=text))

    verdicts = labs.compare()

    assert {entry.id: verdicts[entry.id].reason for entry in sound} == {entry.id: CURRENT for entry in sound}
    for name, (_, reason) in ODD.items():
        assert (verdicts[name].start, reason in verdicts[name].reason) == (False, True), verdicts[name]
    assert "full of it" in verdicts["ends"].reason
    assert "TypeError" in verdicts["patches"].reason
    assert {verdicts[name].reason for name in HARMLESS if name != "patches"} == {DUE}


def test_a_pipeline_that_hangs_is_waited_for_once(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other plates have the same reason at once; each plate names the pipeline, none is started."""
    monkeypatch.setattr(staleness, "IMPORT_S", 2.0)
    notes = labs.root / "notes"
    for number in range(4):
        labs.processed(f"P{number}", "lab", NOTES.format(file=notes) + "import time\ntime.sleep(500)\n")

    verdicts = labs.compare(at_once=1)

    assert len(notes.read_text().splitlines()) == 1
    assert {
        (verdict.start, "'lab_use:pipeline' did not end within" in verdict.reason) for verdict in verdicts.values()
    } == {(False, True)}


def test_no_process_of_a_comparison_outlives_it(labs: Labs) -> None:
    """Nor what a pipeline started."""
    notes = labs.root / "notes"
    head = "import os, subprocess\n" + NOTES.format(file=notes)
    head += f"print(subprocess.Popen(['sleep', '500']).pid, 0, file=open(r'{notes}', 'a'))"
    labs.processed("P1", "lab", lab_use(head=head))

    labs.compare()

    numbers = {int(number) for line in notes.read_text().splitlines() for number in line.split()} - {0}
    assert len(numbers) == 3
    for _ in range(100):
        if not any(runs(number) for number in numbers):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {[number for number in numbers if runs(number)]}")


def runs(number: int) -> bool:
    """Whether a process exists and is more than its exit status."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def publish_here(entry: CatalogueEntry) -> None:
    """Publish a plate in another process."""
    subprocess.run([sys.executable, "-c", RUN, str(Path(entry.output).parent / "plates"), entry.id], check=True)


def test_the_process_that_forks_knows_no_pipeline_and_no_array_library_but_numpy() -> None:
    """It has one thread, none of a BLAS either, and what it shares with its children is ours and NumPy."""
    code = (
        "import sys, threading\nfrom importlib import import_module\nfrom pathlib import Path\n"
        "from openhcs_dagster.automation import comparison_process\n"
        "for name in comparison_process._SHARED: import_module(name)\n"
        "tasks = list(Path('/proc/self/task').glob('*'))\n"
        "print(len(tasks) or threading.active_count(), *{name.partition('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    threads, *modules = done.stdout.split()
    heavy = {"torch", "tensorflow", "jax", "cupy", "pyclesperanto", "numba", "zarr", "scipy", "dagster", "polars"}
    assert (threads, heavy & set(modules)) == ("1", set())
