"""What a function uses: followed by text, by value, by version and by file; or named where nobody can follow it."""

# ruff: noqa: E501 # a module of the lab is one line of text

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from openhcs_engine import FunctionStep
from openhcs_engine.compiler import compile_plate
from openhcs_engine.errors import CompilationError, ExecutionError
from openhcs_engine.execution.calls import FunctionSource
from openhcs_engine.laws import now
from openhcs_engine.plan.context import ProcessingContext
from openhcs_engine.uses.follow import Uses, follow
from openhcs_engine.uses.packages import Whose, whose
from tests.engine.plates import make_plate, output_plan

Lab = Callable[..., Uses]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Writes the modules of a flat folder, imports ``lab_use`` anew, and follows its function ``step``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    def write(files: Mapping[str, str]) -> Uses:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        forget()
        importlib.invalidate_caches()
        return follow(importlib.import_module("lab_use").step)

    yield write
    forget()


@dataclass(frozen=True, kw_only=True)
class Case:
    """Modules of a lab, and a text in one of them that is changed."""

    name: str
    use: str
    """``lab_use.py``."""
    others: Mapping[str, str] = field(default_factory=dict)
    old: str = "100"
    new: str = "999"
    file: str = "lab_help.py"
    follows: bool = True
    """Whether the change makes another function."""


HELP = "def offset(stack):\n    return 100\n"
FOLLOWED = (
    Case(
        name="a module beside it",
        use="import lab_help\ndef step(stack):\n    return stack + lab_help.offset(stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a function of a module beside it",
        use="from lab_help import offset as other\ndef step(stack):\n    return stack + other(stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a module by another name",
        use="import lab_help as h\ndef step(stack):\n    return stack + h.offset(stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a module of another package",
        use="import lab_pack.sub\ndef step(stack):\n    return stack + lab_pack.sub.offset(stack)\n",
        others={"lab_pack/__init__.py": "", "lab_pack/sub.py": HELP},
        file="lab_pack/sub.py",
    ),
    Case(
        name="a module that the function imports when it is called",
        use="def step(stack):\n    from lab_help import offset\n    return stack + offset(stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a module of a package that the function imports when it is called",
        use="def step(stack):\n    from lab_pack import sub\n    return stack + sub.offset(stack)\n",
        others={"lab_pack/__init__.py": "", "lab_pack/sub.py": HELP},
        file="lab_pack/sub.py",
    ),
    Case(
        name="a helper of a helper",
        use="import lab_help\ndef step(stack):\n    return stack + lab_help.offset(stack)\n",
        others={
            "lab_help.py": "import lab_deep\ndef offset(stack):\n    return lab_deep.AMOUNT\n",
            "lab_deep.py": "AMOUNT = 100\n",
        },
        file="lab_deep.py",
    ),
    Case(
        name="everything of a module that is handed on",
        use="import lab_help\ndef call(module, stack):\n    return getattr(module, 'off' + 'set')(stack)\n"
        "def step(stack):\n    return call(lab_help, stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a star import",
        use="from lab_help import *\ndef step(stack):\n    return stack + offset(stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a method of a class",
        use="from lab_help import Scale\ndef step(stack):\n    return Scale().by(stack)\n",
        others={"lab_help.py": "class Scale:\n    def by(self, stack):\n        return stack * 100\n"},
    ),
    Case(
        name="a base class, and what its method calls",
        use="from lab_help import Scale\nclass Mine(Scale):\n    pass\ndef step(stack):\n    return Mine().by(stack)\n",
        others={
            "lab_help.py": "import lab_deep\nclass Scale:\n    def by(self, stack):\n        return stack * lab_deep.amount()\n",
            "lab_deep.py": "def amount():\n    return 100\n",
        },
        file="lab_deep.py",
    ),
    Case(
        name="a class attribute that is set from elsewhere",
        use="import lab_help\nclass Scale:\n    by = lab_help.AMOUNT\ndef step(stack):\n    return stack * Scale.by\n",
        others={"lab_help.py": "AMOUNT = 100\n"},
    ),
    Case(
        name="a property",
        use="from lab_help import Scale\nSCALE = Scale()\ndef step(stack):\n    return stack * SCALE.by\n",
        others={"lab_help.py": "AMOUNT = 100\nclass Scale:\n    @property\n    def by(self):\n        return AMOUNT\n"},
    ),
    Case(
        name="an object of the user's own class",
        use="from lab_help import SCALE\ndef step(stack):\n    return SCALE.by(stack)\n",
        others={
            "lab_help.py": "class Scale:\n    def __init__(self, n):\n        self.n = n\n    def by(self, stack):\n"
            "        return stack * self.n\nSCALE = Scale(100)\n"
        },
    ),
    Case(
        name="an object with slots",
        use="from lab_help import SCALE\ndef step(stack):\n    return stack * SCALE.n\n",
        others={
            "lab_help.py": "class Scale:\n    __slots__ = ('n',)\n    def __init__(self, n):\n        self.n = n\n"
            "SCALE = Scale(100)\n"
        },
    ),
    Case(
        name="a dataclass",
        use="from lab_help import SETTINGS\ndef step(stack):\n    return stack * SETTINGS.inner.n\n",
        others={
            "lab_help.py": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Inner:\n    n: int\n"
            "@dataclass\nclass Settings:\n    inner: Inner\nSETTINGS = Settings(Inner(100))\n"
        },
    ),
    Case(
        name="a partial",
        use="from functools import partial\nimport lab_help\nadd = partial(lab_help.add, n=lab_help.N)\n"
        "def step(stack):\n    return add(stack)\n",
        others={"lab_help.py": "N = 100\ndef add(stack, n):\n    return stack + n\n"},
    ),
    Case(
        name="the function of a partial",
        use="from functools import partial\nimport lab_help\nadd = partial(lab_help.add, n=1)\n"
        "def step(stack):\n    return add(stack)\n",
        others={"lab_help.py": "def add(stack, n):\n    return stack + n + 100\n"},
    ),
    Case(
        name="a function that a function made",
        use="from lab_help import make\nadd = make()\ndef step(stack):\n    return add(stack)\n",
        others={
            "lab_help.py": "N = [100]\ndef make():\n    n = N[0]\n    def add(stack):\n        return stack + n\n    return add\n"
        },
    ),
    Case(
        name="which of two made functions is which",
        use="import lab_help\nA = lab_help.make(1)\nB = lab_help.make(2)\ndef step(stack):\n    return A(stack) - B(stack)\n",
        others={"lab_help.py": "def make(n):\n    def add(stack):\n        return stack + n\n    return add\n"},
        file="lab_use.py",
        old="A = lab_help.make(1)\nB = lab_help.make(2)",
        new="A = lab_help.make(2)\nB = lab_help.make(1)",
    ),
    Case(
        name="a decorator",
        use="from lab_help import around\n@around\ndef step(stack):\n    return stack\n",
        others={
            "lab_help.py": "import functools\ndef around(f):\n    @functools.wraps(f)\n    def g(stack):\n"
            "        return f(stack) + 100\n    return g\n"
        },
    ),
    Case(
        name="what a decorator was given",
        use="from lab_help import around\nfrom lab_deep import TABLE\n@around(TABLE)\ndef step(stack):\n    return stack\n",
        others={
            "lab_help.py": "import functools\ndef around(table):\n    def outer(f):\n        @functools.wraps(f)\n"
            "        def g(stack):\n            return f(stack) + table['n']\n        return g\n    return outer\n",
            "lab_deep.py": "TABLE = {'n': 100}\n",
        },
        file="lab_deep.py",
    ),
    Case(
        name="a helper behind a cache of results",
        use="from lab_help import offset\ndef step(stack):\n    return stack + offset(1)\n",
        others={"lab_help.py": "import functools\n@functools.lru_cache\ndef offset(n):\n    return n + 100\n"},
    ),
    Case(
        name="a function in a dict",
        use="import lab_help\nWAYS = {'a': lab_help.offset}\ndef step(stack):\n    return WAYS['a'](stack)\n",
        others={"lab_help.py": HELP},
    ),
    Case(
        name="a lambda",
        use="import lab_help\ndef step(stack):\n    return lab_help.add(stack)\n",
        others={"lab_help.py": "add = lambda stack: stack + 100\n"},
    ),
    Case(
        name="a default that is set from elsewhere",
        use="import lab_help\ndef step(stack, n=lab_help.N):\n    return stack + n\n",
        others={"lab_help.py": "N = 100\n"},
    ),
    Case(
        name="an attribute of a function",
        use="import lab_help\ndef step(stack):\n    return stack + lab_help.offset.n\n",
        others={"lab_help.py": "def offset():\n    return 0\nN = 100\noffset.n = N\n"},
    ),
    Case(
        name="a number",
        use="from lab_help import N\ndef step(stack):\n    return stack + N\n",
        others={"lab_help.py": "N = 100\n"},
    ),
    Case(
        name="a dict in a dict",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.GAINS['DAPI']['n']\n",
        others={"lab_help.py": "GAINS = {'DAPI': {'n': 100}}\n"},
    ),
    Case(
        name="a list",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.GAINS[0]\n",
        others={"lab_help.py": "GAINS = [[100]]\n"},
    ),
    Case(
        name="a long list",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.GAINS[0]\n",
        others={"lab_help.py": "GAINS = [*range(1000), 100]\n"},
    ),
    Case(
        name="a set",
        use="import lab_help\ndef step(stack):\n    return stack * max(lab_help.GAINS)\n",
        others={"lab_help.py": "GAINS = {'a', 'b', 100}\n"},
    ),
    Case(
        name="an array",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.TABLE\n",
        others={
            "lab_help.py": "import numpy as np\nTABLE = np.arange(6, dtype=np.uint16).reshape(2, 3).T + np.uint16(100)\n"
        },
    ),
    Case(
        name="an array's type",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.TABLE\n",
        others={"lab_help.py": "import numpy as np\nTABLE = np.zeros(4, np.int32)\n"},
        old="int32",
        new="uint32",
    ),
    Case(
        name="a mask",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.TABLE\n",
        others={"lab_help.py": "import numpy as np\nTABLE = np.ma.array([1, 2], mask=[100 == 100, False])\n"},
        old="100 ==",
        new="999 ==",
    ),
    Case(
        name="a number of NumPy's",
        use="import lab_help\ndef step(stack):\n    return stack * lab_help.N\n",
        others={"lab_help.py": "import numpy as np\nN = np.float32(100)\n"},
    ),
    Case(
        name="a pattern of a regular expression",
        use="import lab_help\ndef step(stack):\n    return stack if lab_help.P.match('a') else stack * 2\n",
        others={"lab_help.py": "import re\nP = re.compile('100')\n"},
    ),
    Case(
        name="an enumeration",
        use="from lab_help import Way\ndef step(stack):\n    return stack * Way.FAST.value\n",
        others={"lab_help.py": "from enum import Enum\nclass Way(Enum):\n    FAST = 100\n"},
    ),
    Case(
        name="how a memory begins",
        use="import lab_help\ndef step(stack):\n    lab_help.KEPT['last'] = stack\n    return stack * lab_help.KEPT['n']\n",
        others={"lab_help.py": "KEPT = {'n': 100}\n"},
    ),
    Case(
        name="what else an object holds whose method counts its calls",
        use="from lab_help import SCALE\ndef step(stack):\n    return SCALE.by(stack)\n",
        others={
            "lab_help.py": "class Scale:\n    def __init__(self, n):\n        self.n, self.calls = n, 0\n"
            "    def by(self, stack):\n        self.calls += 1\n        return stack * self.n\nN = 100\nSCALE = Scale(N)\n"
        },
    ),
    Case(
        name="a name that is not used",
        use="import lab_help\ndef step(stack):\n    return stack + lab_help.N\n",
        others={"lab_help.py": "N = 1\nOTHER = 100\ndef other():\n    return 100\n"},
        follows=False,
    ),
    Case(
        name="a comment beside it",
        use="import lab_help\ndef step(stack):\n    return stack + lab_help.N\n",
        others={"lab_help.py": "# 100\nN = 1\n"},
        follows=False,
    ),
)


@pytest.mark.parametrize("case", FOLLOWED, ids=lambda case: case.name)
def test_what_a_function_uses_makes_it_another_function(lab: Lab, case: Case) -> None:
    """Wherever it lies among the user's own modules; and nothing else does."""
    files = {"lab_use.py": case.use, **case.others}
    one, same = lab(files).sha256, lab(files).sha256
    changed = files[case.file].replace(case.old, case.new)
    assert changed != files[case.file]

    other = lab({case.file: changed})

    assert one == same
    assert (other.sha256 != one) is case.follows
    assert other.unfollowed == ()


MEMORIES = {
    "a dict": "KEPT = {}\ndef step(stack):\n    KEPT[len(KEPT)] = stack\n    return stack\n",
    "setdefault": "KEPT = {}\ndef step(stack):\n    return KEPT.setdefault(1, stack)\n",
    "a list of a dict": "KEPT = {'a': []}\ndef step(stack):\n    kept = KEPT['a']\n    kept.append(1)\n    return stack\n",
    "a global": "kept = None\ndef step(stack):\n    global kept\n    kept = stack\n    return stack\n",
    "an array": "import numpy as np\nKEPT = np.zeros(2)\ndef step(stack):\n    KEPT[0] += 1\n    return stack\n",
    "an array in place": "import numpy as np\nKEPT = np.zeros(2)\ndef step(stack):\n    np.add(KEPT, 1, out=KEPT)\n    return stack\n",
    "an alias": "import numpy as np\nKEPT = np.zeros(2)\ndef step(stack):\n    kept = KEPT\n    kept += 1\n    return stack\n",
    "an object's attribute": "class Kept:\n    def __init__(self):\n        self.n = 0\nKEPT = Kept()\n"
    "def step(stack):\n    KEPT.n += 1\n    return stack\n",
    "a method": "class Kept:\n    def __init__(self):\n        self.all = []\n    def keep(self, s):\n        self.all.append(s.sum())\n"
    "KEPT = Kept()\ndef step(stack):\n    KEPT.keep(stack)\n    return stack\n",
    "a class attribute": "class Kept:\n    one = None\n    @classmethod\n    def get(cls):\n        cls.one = (cls.one or 0) + 1\n"
    "def step(stack):\n    Kept.get()\n    return stack\n",
    "a function's attribute": "def step(stack):\n    step.calls += 1\n    return stack\nstep.calls = 0\n",
    "a cached property": "import functools\nclass Kept:\n    @functools.cached_property\n    def n(self):\n        return 1\n"
    "KEPT = Kept()\ndef step(stack):\n    return stack + KEPT.n\n",
    "a decorator's own": "import functools\ndef kept(f):\n    all = {}\n    @functools.wraps(f)\n    def g(stack):\n"
    "        all[len(all)] = 1\n        return f(stack)\n    return g\n@kept\ndef step(stack):\n    return stack\n",
    "a helper's argument": "KEPT = {}\ndef keep(where, stack):\n    where[len(where)] = stack\n"
    "def step(stack):\n    keep(KEPT, stack)\n    return stack\n",
    "another module's": "import lab_help\ndef step(stack):\n    lab_help.KEPT.append(1)\n    return stack\n",
    "results": "import functools\n@functools.cache\ndef n():\n    return 1\ndef step(stack):\n    return stack + n()\n",
}


@pytest.mark.parametrize("memory", MEMORIES)
def test_what_functions_themselves_write_to_makes_no_other_function(lab: Lab, memory: str) -> None:
    """It is a memory, and holds something else in every process; nobody is warned of it."""
    before = lab({"lab_use.py": MEMORIES[memory], "lab_help.py": "KEPT = []\n"})
    step = sys.modules["lab_use"].step

    for _ in range(2):
        step(np.ones((1, 2, 2)))

    assert follow(step).sha256 == before.sha256
    assert before.unfollowed == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import numpy as np\nRNG = np.random.default_rng(0)\ndef step(stack):\n    return stack + RNG.normal()\n",
         "lab_use.RNG (numpy.random._generator.Generator)"),
        ("import lab_help\ndef step(stack):\n    return lab_help.FILE.read()\n", "lab_help.FILE (_io.TextIOWrapper)"),
        ("import numpy as np\nBIG = np.zeros((65, 1024, 1024), np.uint8)\ndef step(stack):\n    return stack + BIG.max()\n",
         "lab_use.BIG (an array of 68.2 MB)"),
        ("SETTINGS = {'rng': iter([])}\ndef step(stack):\n    return SETTINGS\n", "lab_use.SETTINGS (list_iterator)"),
        ("def step(stack):\n    return eval('stack')\n", "what lab_use.step asks eval for"),
        ("import importlib\ndef step(stack):\n    return importlib.import_module('a')\n",
         "what lab_use.step asks import_module for"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_named(lab: Lab, text: str, named: str) -> None:
    """By its name and its kind; how the module makes it is followed all the same."""
    files = {"lab_use.py": text, "lab_help.py": "FILE = open('lab_help.py')\n"}

    assert lab(files).unfollowed == (named,)


def test_the_text_that_makes_what_cannot_be_followed_is_followed(lab: Lab) -> None:
    """Another seed is another generator."""
    text = "import numpy as np\nRNG = np.random.default_rng({})\ndef step(stack):\n    return stack + RNG.normal()\n"

    assert lab({"lab_use.py": text.format(0)}).sha256 != lab({"lab_use.py": text.format(1)}).sha256


def test_packages_are_followed_by_their_version(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are called otherwise than what is installed, and those that only a function imports."""
    text = "import numpy as np\ndef step(stack):\n    from skimage import filters\n    return filters.gaussian(np.abs(stack))\n"
    uses = lab({"lab_use.py": text})
    assert {"numpy", "scikit-image"} <= set(uses.used) and uses.unfollowed == ()

    monkeypatch.setattr("openhcs_engine.uses.follow.package_of", lambda name: f"{name}==0.0")

    assert lab({"lab_use.py": text}).sha256 != uses.sha256


def test_a_checkout_is_followed_by_its_source_and_what_was_installed_by_its_version(lab: Lab, tmp_path: Path) -> None:
    """``pip install --editable`` leaves the package where it is; ``pip install --target`` puts a version beside it."""
    lab({"lab_use.py": "def step(stack):\n    return stack\n", "lab_help.py": HELP})
    info = tmp_path / "target" / "lab_kit-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-kit\nVersion: 1.2\n")
    (info / "RECORD").write_text("lab_kit/__init__.py,,\n")
    (tmp_path / "target" / "lab_kit").mkdir()
    (tmp_path / "target" / "lab_kit" / "__init__.py").write_text("")
    sys.path.insert(0, str(tmp_path / "target"))
    try:
        importlib.import_module("lab_kit")
        importlib.import_module("lab_help")
        assert [whose(name) for name in ("lab_help", "lab_kit", "numpy.linalg", "json", "openhcs_engine.plan.context")] == [
            Whose.OWN, Whose.INSTALLED, Whose.INSTALLED, Whose.PYTHON, Whose.OURS,
        ]  # fmt: skip
    finally:
        sys.path.remove(str(tmp_path / "target"))


READS = """
import numpy as np
from pathlib import Path
TABLE = np.loadtxt(Path(__file__).parent / "table.txt").sum() > 0
with open("notes.json") as file:
    pass
def step(stack):
    return stack * TABLE
"""


def test_files_that_modules_read_while_they_are_imported_are_part_of_the_fingerprint(lab: Lab, tmp_path: Path) -> None:
    """By name, size and time; not by folder. What is written, or read when the function is called, is none of them."""
    (tmp_path / "table.txt").write_text("1 2 3")
    (tmp_path / "notes.json").write_text("{}")
    text = f"{READS}\nopen('written.txt', 'w').close()\n"
    assert [Path(file.path).name for file in lab({"lab_use.py": text}).files] == ["notes.json", "table.txt"]
    before = fingerprint()
    assert fingerprint() == before

    os.utime(tmp_path / "notes.json", (1, 1))

    with pytest.raises(CompilationError, match=r"step is not what .*notes\.json says now"):
        fingerprint()
    lab({"lab_use.py": text})
    assert fingerprint() != before


def test_a_worker_refuses_a_file_that_changed_since_the_plate_was_compiled(lab: Lab, tmp_path: Path) -> None:
    """It would make other pixels than the fingerprint says."""
    (tmp_path / "table.txt").write_text("1 2 3")
    (tmp_path / "notes.json").write_text("{}")
    lab({"lab_use.py": READS})
    ((call,),) = (route.calls for route in compiled().steps[0].routes)
    (tmp_path / "notes.json").write_text("{ }")

    with pytest.raises(ExecutionError, match=r"notes\.json, which lab_use:step reads, or its modules"):
        FunctionSource().get(call)


def test_a_module_that_asks_another_program_while_it_is_imported_is_named(lab: Lab) -> None:
    """What it was told there has no size and no time."""
    text = "import subprocess\nN = subprocess.run(['echo', '1'], capture_output=True).stdout\ndef step(stack):\n    return N\n"

    assert lab({"lab_use.py": text}).unfollowed == ("what lab_use got from another program while it was imported",)


def test_moving_the_pipelines_folder_changes_nothing(tmp_path: Path) -> None:
    """Paths of the module's own folder are told from there."""
    text = "from pathlib import Path\nHERE = Path(__file__).parent\nFILE = str(HERE / 'model.bin')\n"
    text += "def step(stack):\n    return HERE, FILE, __file__\n"

    assert digest_in_process(tmp_path / "one", text, "1") == digest_in_process(tmp_path / "two", text, "2")


def test_every_process_computes_the_same(tmp_path: Path) -> None:
    """Whatever order sets have there, and wherever objects lie."""
    text = (
        "import functools, re, threading, logging, dataclasses, numpy as np\n"
        "class Thing:\n    def __init__(self):\n        self.names = {'a', 'b', 'c', 'd'}\n        self.other = object\n"
        "@dataclasses.dataclass\nclass Data:\n    things: frozenset = frozenset('abcdefg')\n"
        "LOCK, LOG, THING, DATA = threading.Lock(), logging.getLogger('a'), Thing(), Data()\n"
        "TABLE = {key: np.array([key, None], object) for key in {'x', 'y', 'z'}}\n"
        "made = functools.partial(lambda stack, n: stack, n={1: {2, 3}})\n"
        "def step(stack):\n    return LOCK, LOG, THING, DATA, TABLE, made, (lambda: {'p', 'q', 'r'})\n"
    )

    digests = {digest_in_process(tmp_path / "lab", text, seed) for seed in ("1", "2", "3")}

    assert len(digests) == 1


def test_the_step_that_uses_what_nobody_can_follow_is_named_at_compile(lab: Lab) -> None:
    """Each thing once, at most twelve of a step."""
    names = [f"R{number:02d}" for number in range(14)]
    lines = [f"{name} = np.random.default_rng(0)" for name in names]
    text = "\n".join(["import numpy as np", *lines, f"def step(stack):\n    return {', '.join(names)}", ""])
    lab({"lab_use.py": text})
    plate, index = make_plate()
    step = FunctionStep(sys.modules["lab_use"].step, name="Noise")

    notes = compile_plate(plate, index, [step, step], output=output_plan()).notes

    (note,) = (note for note in notes if "no fingerprint follows" in note)
    assert note.startswith("Step 1 'Noise' uses what no fingerprint follows")
    assert note.count("lab_use.R") == 12 and "and 2 more" in note


SHARED = """
from openhcs_engine import FunctionStep
from openhcs_engine.memory import numpy
STATS = {}
@numpy
def learn(stack):
    STATS["mean"] = stack.mean()
    return stack
@numpy
def step(stack):
    return stack * 0 + int(STATS["mean"])
steps = [FunctionStep(learn), FunctionStep(step)]
"""


def test_what_one_step_leaves_in_its_module_for_another_is_a_memory_of_both(lab: Lab) -> None:
    """The second step neither becomes another function by it, nor is refused after the first one ran."""
    lab({"lab_use.py": SHARED})
    steps = sys.modules["lab_use"].steps
    plate, index = make_plate()

    def context() -> ProcessingContext:
        return compile_plate(plate, index, steps, output=output_plan()).contexts["A01"]

    before = context()
    functions = FunctionSource()
    functions.verify(before.calls)
    for call in before.calls:
        functions.get(call)(np.ones((1, 2, 2)))

    assert context().fingerprint == before.fingerprint
    FunctionSource().verify(before.calls)


def test_a_library_of_the_labs_own_in_c_is_followed_by_its_content(lab: Lab, tmp_path: Path) -> None:
    """It has no text."""
    text = "import lab_fast\ndef step(stack):\n    return lab_fast.go(stack)\n"
    lab({"lab_use.py": text, "lab_fast.py": "def go(stack):\n    return stack\n"})
    library = tmp_path / "lab_fast.so"
    module = sys.modules["lab_fast"]
    module.__file__ = str(library)
    digests = []
    for content in (b"1", b"1", b"2"):
        library.write_bytes(content)
        digests.append(follow(sys.modules["lab_use"].step).sha256)

    assert digests[0] == digests[1] != digests[2]


def compiled() -> ProcessingContext:
    """The context of a well of the lab's function."""
    plate, index = make_plate()
    step = FunctionStep(sys.modules["lab_use"].step)
    return compile_plate(plate, index, [step], output=output_plan()).contexts["A01"]


def fingerprint() -> str:
    return compiled().fingerprint


def digest_in_process(folder: Path, text: str, seed: str) -> str:
    """The digest of a function that a process of its own computes."""
    folder.mkdir(exist_ok=True)
    (folder / "lab_use.py").write_text(text)
    code = "import openhcs_engine; from openhcs_engine.uses.follow import follow; import lab_use; u = follow(lab_use.step); print(u.sha256, u.unfollowed)"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("()\n"), done.stdout
    return done.stdout


def test_a_default_that_a_function_fills_is_a_memory(lab: Lab) -> None:
    """What it keeps there from call to call makes no well stale; a default that it only reads is a value."""
    text = (
        "def step(stack, kept={'first': 1}, table=[1]):\n    kept.setdefault(len(stack), table[0])\n    return stack\n"
    )
    fresh = lab({"lab_use.py": text})
    step = sys.modules["lab_use"].step

    step([1, 2])
    assert step.__defaults__[0] == {"first": 1, 2: 1}
    assert follow(step).sha256 == fresh.sha256

    step.__defaults__[1][0] = 5
    assert follow(step).sha256 != fresh.sha256


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize(
    "late",
    [
        "from openhcs_engine.functions.tiles.positions import nearly_square",
        "from openhcs_engine.functions.tiles import positions",
        "import openhcs_engine.functions.tiles.positions as positions",
    ],
)
def test_a_late_import_of_ours_is_followed_whether_or_not_it_is_loaded(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, late: str, loaded: bool
) -> None:
    """A revision of a function of ours makes a step stale whatever another pipeline imported before."""
    package, reference = "openhcs_engine.functions.tiles", "openhcs_engine.functions.positions:nearly_square"
    importlib.import_module(f"{package}.positions")
    call = "nearly_square" if late.endswith("nearly_square") else "positions.nearly_square"
    use = {"lab_use.py": f"def step(stack):\n    {late}\n    return {call}(stack.size)\n"}
    lab(use)
    if not loaded:
        monkeypatch.delattr(f"{package}.positions")
        monkeypatch.delitem(sys.modules, f"{package}.positions")

    monkeypatch.setattr(now, "REVISIONS", {reference: 1})
    first = lab(use)
    monkeypatch.setattr(now, "REVISIONS", {reference: 2})
    second = lab(use)

    assert first.used[reference] == "revision 1" and first.sha256 != second.sha256
