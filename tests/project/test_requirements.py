"""The locks: complete, hashed, in step with pyproject.toml, and left alone by the array libraries."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = sorted((REPOSITORY / "requirements").glob("*.lock"))
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def install() -> ModuleType:
    """The script that installs the project."""
    spec = importlib.util.spec_from_file_location("install", REPOSITORY / "requirements" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(lock: Path) -> dict[str, str]:
    """Version of each distribution in a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]*\])?==(\S+) ", lock.read_text(), flags=re.MULTILINE))


def environment(python: str) -> dict[str, str]:
    """What markers of a requirement are asked for, on the host that the locks are for."""
    return {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "extra": ""}


def test_there_is_a_lock_for_each_python_with_and_without_the_test_tools() -> None:
    """Six files."""
    names = {f"py{python}{dev}.lock" for python in PYTHONS for dev in ("", "-dev")}
    assert {lock.name for lock in LOCKS} == names


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_of_a_lock_has_its_hashes_and_names_no_server(lock: Path) -> None:
    """So pip installs these very files, from wherever it is told to look."""
    text = lock.read_text()
    lines = [line for line in text.splitlines() if not line.startswith((" ", "#"))]

    assert len(lines) == len(pins(lock)) > 50
    assert all(line.endswith(" \\") for line in lines)
    assert text.count("--hash=sha256:") >= len(lines)
    assert "://" not in text and "--index" not in text


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_satisfies_the_project(lock: Path) -> None:
    """Each direct requirement is pinned to a version that pyproject.toml allows; no array library is in it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    if lock.stem.endswith("-dev"):
        wanted += project["project"]["optional-dependencies"]["dev"]
    locked = pins(lock)

    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{name} is not in {lock.name}: run `make lock`"
        assert requirement.specifier.contains(locked[name], prereleases=True), f"{name}: run `make lock`"
    assert locked.keys().isdisjoint({"torch", "tensorflow-cpu", "jax", "jaxlib", "cupy-cuda12x", "pyclesperanto"})


def test_the_locks_of_a_python_agree() -> None:
    """What is installed for the demo stays when the test tools come."""
    for python in PYTHONS:
        small, large = (pins(REPOSITORY / "requirements" / f"py{python}{dev}.lock") for dev in ("", "-dev"))
        assert small.items() <= large.items()


def test_array_libraries_install_beside_the_lock(install: ModuleType) -> None:
    """With all of them installed, each locked distribution has its locked version, and theirs are the tested ones."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = install.find_lock(python, install.host_name(), dev=True)
    if lock is None:
        pytest.skip(f"no lock fits Python {python} on {install.host_name()}")
    left_out = Path(sys.prefix) / "left-out.json"
    absent = json.loads(left_out.read_text()) if left_out.is_file() else {}

    changed = {name: (metadata.version(name), pin) for name, pin in pins(lock).items() if metadata.version(name) != pin}
    assert changed == {}
    for name, version in install.array_libraries().items():
        if name not in absent:
            assert metadata.version(name).partition("+")[0] == version


def test_array_libraries_ask_for_nothing_that_a_lock_forbids(install: ModuleType) -> None:
    """Their own requirements, read from what is installed, hold for the versions of this Python's lock."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = install.find_lock(python, install.LOCKED_FOR, dev=True)
    if lock is None:
        pytest.skip(f"there is no lock for Python {python}")
    locked = pins(lock)

    for name in install.array_libraries():
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # left out here; the test before says which may be
        for requirement in map(Requirement, required):
            if requirement.marker is None or requirement.marker.evaluate(environment(python)):
                pin = locked.get(canonicalize_name(requirement.name))
                assert pin is None or requirement.specifier.contains(pin), (
                    f"{name} wants {requirement}, locked is {pin}"
                )


@pytest.mark.parametrize(
    ("python", "host", "dev", "name"),
    [
        ("3.11", "Linux x86_64 with glibc", False, "py3.11.lock"),
        ("3.13", "Linux x86_64 with glibc", True, "py3.13-dev.lock"),
        ("3.14", "Linux x86_64 with glibc", True, None),
        ("3.12", "Linux aarch64 with glibc", False, None),
        ("3.12", "Linux x86_64", False, None),
        ("3.12", "Darwin arm64", True, None),
    ],
)
def test_a_lock_is_taken_only_where_it_fits(
    python: str, host: str, dev: bool, name: str | None, install: ModuleType
) -> None:
    """Another Python, system, processor or C library installs unlocked."""
    lock = install.find_lock(python, host, dev)
    assert (lock and lock.name) == name


def test_installing_unlocked_says_so(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with what it installs instead."""
    commands: list[list[str]] = []
    monkeypatch.setattr(install, "host_name", lambda: "Darwin arm64")
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: commands.append(command))

    install.install_project(dev=True)

    assert "No lock fits Python" in (said := capsys.readouterr().out) and "Darwin arm64" in said
    assert [command[-1] for command in commands] == [".[dev]"] and "--require-hashes" not in commands[0]


def test_a_lock_is_installed_with_its_hashes_and_the_project_without_its_dependencies(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock first, since it holds what builds the project."""
    commands: list[list[str]] = []
    monkeypatch.setattr(install, "find_lock", lambda *_: LOCKS[0])
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: commands.append(command))

    install.install_project(dev=False)

    locked, own = commands
    assert locked[-4:] == ["--no-deps", "--require-hashes", "--requirement", str(LOCKS[0])]
    assert own[-4:] == ["--no-deps", "--no-build-isolation", "--editable", "."]


@pytest.mark.parametrize(
    ("host", "wanted", "reason"),
    [
        ("Linux x86_64 with glibc", "torch==2.13.0+cpu", "only its CUDA build"),
        ("Darwin arm64", "torch==2.13.0", "there is no torch==2.13.0"),
    ],
)
def test_a_library_that_cannot_be_had_is_left_out_with_its_reason(
    host: str, wanted: str, reason: str, install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux, PyTorch is taken without CUDA or not at all."""
    asked: list[str] = []

    def refuse(command: list[str], **_: object) -> object:
        asked.append(command[-1])
        return install.subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for it")

    monkeypatch.setattr(install, "host_name", lambda: host)
    monkeypatch.setattr(install, "array_libraries", lambda: {"torch": "2.13.0"})
    monkeypatch.setattr(install.subprocess, "run", refuse)

    left_out = install.install_array_libraries()

    assert asked == [wanted]
    assert reason in left_out["torch"]


@pytest.mark.parametrize(
    "stderr",
    ["ERROR: No space left", "WARNING: Retrying (Retry(total=4)) after ...\nERROR: No matching distribution found"],
)
def test_an_installation_that_fails_otherwise_ends(
    stderr: str, install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is down is no reason to test without a library."""
    failed = install.subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(install, "array_libraries", lambda: {"jax": "0.10.2"})
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(SystemExit, match="could not be installed"):
        install.install_array_libraries()
