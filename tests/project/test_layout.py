"""Where things lie: the layers as the documents and the linter have them, packages that say what they hold."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

REPO: Final = Path(__file__).parents[2]
PRODUCT: Final = ("openhcs_engine", "openhcs_dagster")
PACKAGES: Final = sorted(file.parent for product in PRODUCT for file in (REPO / product).rglob("__init__.py"))
MOST_MODULES: Final = 14
"""In a folder, ``__init__`` aside: as many as one can look over."""


def layers_of_the_linter() -> list[set[str]]:
    """From the top down, packages of the engine that stand beside each other."""
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [{name.strip().removeprefix("openhcs_engine.") for name in re.split(r"[|:]", layer)} for layer in layers]


def layers_of_the_document() -> list[set[str]]:
    """The first column of the table in ARCHITECTURE.md."""
    text = (REPO / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| layer \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()]


def test_the_layers_of_the_document_are_those_of_the_linter() -> None:
    """The same packages, in the same order, beside the same others."""
    assert layers_of_the_document() == layers_of_the_linter()


def test_the_picture_shows_the_layers_from_the_top() -> None:
    """One row of boxes a layer; ``tools/draw_layers.py`` draws it anew."""
    text = (REPO / "docs" / "images" / "layers.svg").read_text(encoding="utf-8")
    rows: dict[int, set[str]] = {}
    for height, name in re.findall(r'<text x="\d+" y="(\d+)"[^>]*>(\w+)</text>', text):
        rows.setdefault(int(height), set()).add(name)

    assert [rows[height] for height in sorted(rows)] == layers_of_the_linter()


def test_every_package_of_the_engine_has_a_layer() -> None:
    """A new one would be free to import anything."""
    engine = REPO / "openhcs_engine"
    packages = {file.parent.name for file in engine.glob("*/__init__.py")}
    modules = {file.stem for file in engine.glob("*.py")} - {"__init__", "__main__"}

    assert set.union(*layers_of_the_linter()) == packages | modules


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(REPO)))
def test_a_package_says_what_lives_there_and_what_does_not(package: Path) -> None:
    """A sentence about what it holds; what it does not hold behind it: by a *not*, or by the name of its home."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    first, _, rest = " ".join(docstring.split()).partition(". ")

    assert first and rest, f"{package.relative_to(REPO)}/__init__.py says in a docstring what it holds, and what not"
    refuses = re.search(r"\b(not|no|nothing|none|never)\b", rest, re.IGNORECASE)
    named = [name for name in re.findall(r"``(\w+)``", rest) if is_of_ours(name)]
    assert refuses or named, f"{package.relative_to(REPO)}/__init__.py: what does not live there?"


def is_of_ours(name: str) -> bool:
    """Whether a package or module of the product has this name."""
    return any(any((REPO / product).rglob(f"{name}{end}")) for product in PRODUCT for end in (".py", "/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(REPO)))
def test_a_folder_can_be_looked_over(package: Path) -> None:
    """It has few modules; more of them make a folder."""
    modules = [file for file in package.glob("*.py") if file.name != "__init__.py"]

    assert len(modules) <= MOST_MODULES


def test_every_folder_with_modules_is_a_package() -> None:
    """Without ``__init__`` a wheel would lack it."""
    folders = {file.parent for product in PRODUCT for file in (REPO / product).rglob("*.py")}

    assert folders == set(PACKAGES)


def test_what_a_package_does_not_say_is_found() -> None:
    """A test that cannot fail would say nothing."""
    assert not is_of_ours("warehouse") and is_of_ours("ngff") and is_of_ours("foreign")


WHERE: Final = (REPO / "docs" / "source" / "where.rst").read_text(encoding="utf-8")
ANSWERS: Final = dict(re.findall(r"^(Where .*\?)\n((?:   .*\n)+)", WHERE, re.MULTILINE))
"""What the page answers, by its questions."""


def test_ten_questions_are_answered() -> None:
    """Every question of the page has its answer below it."""
    assert len(ANSWERS) == len(re.findall(r"^\w.*\?$", WHERE, re.MULTILINE)) - 1 == 10  # the title asks, too


@pytest.mark.parametrize("question", ANSWERS)
def test_the_files_and_names_of_an_answer_exist(question: str) -> None:
    """Each answer names a file of the product, and what it says is defined in a file is."""
    answer = " ".join(ANSWERS[question].split())
    files = re.findall(r"``(openhcs_\w+/[\w/]+\.py)``", answer)

    assert files and all((REPO / file).is_file() for file in files)
    for name, file in re.findall(r"``(\w+)`` in ``([\w/]+\.py)``", answer):
        assert name in defined_in(REPO / file), f"{file} has no {name}"


def defined_in(file: Path) -> set[str]:
    """Functions, classes and constants of a module."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {
        node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
