"""``openhcs memory``: libraries, devices, the ways between libraries, and what workers are born with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from openhcs_engine.cli import memory as memory_output
from openhcs_engine.memory import MemoryType
from openhcs_engine.memory.conversion.routes import ROUTES
from openhcs_engine.memory.devices import CpuInventory, Device, HostInventory, find_inventory
from openhcs_engine.memory.libraries import LIBRARIES

FRAMEWORKS = ("torch", "tensorflow", "jax", "cupy", "pyclesperanto")
IN_HOST_MEMORY = {"numpy", "torch", "tensorflow", "jax"}


@dataclass(frozen=True)
class OneGpu:
    """A host with a GPU that is not there."""

    def devices(self) -> tuple[Device, ...]:
        """One."""
        return (Device(kind="gpu", index=0, name="Fake A100", uuid="GPU-fake", memory_bytes=40 * 2**30),)

    def why_no_gpu(self) -> str | None:
        """There is one."""
        return None


def openhcs_memory(*options: str, python: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as users do, in a terminal of 80 columns."""
    repo = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": repo, "PYTHONIOENCODING": "utf-8", **variables}
    done = subprocess.run(
        [sys.executable, *python, "-m", "openhcs_engine.cli", "memory", *options],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """What programs get."""
    found: dict[str, Any] = json.loads(openhcs_memory("--json").stdout)
    return found


@pytest.fixture(scope="module")
def probed() -> dict[tuple[str, str], dict[str, Any]]:
    """What was measured, by source and target."""
    rows = json.loads(openhcs_memory("--probe", "--json").stdout)["probes"]
    return {(row["source"], row["target"]): row for row in rows}


def test_the_document_is_a_contract(document: dict[str, Any]) -> None:
    """The keys that programs rely on."""
    assert set(document) == {"libraries", "devices", "why_no_gpu", "routes", "worker_environment", "probes"}
    assert [library["memory_type"] for library in document["libraries"]] == list(MemoryType)
    assert set(document["libraries"][0]) == {
        "memory_type", "versions", "runs_on", "gives_memory_back", "remark", "install",
    }  # fmt: skip
    assert set(document["devices"][0]) == {"kind", "index", "name", "uuid", "memory_bytes"}
    assert document["why_no_gpu"] == find_inventory().why_no_gpu()
    assert document["probes"] is None


def test_the_table_has_every_pair_as_the_converter_tries_it(document: dict[str, Any]) -> None:
    """All 36, with their ways in order; those of libraries in the host's memory share it there."""
    routes = {(row["source"], row["target"]): row for row in document["routes"]}

    assert {pair: row["routes"] for pair, row in routes.items()} == {
        (source, target): list(ROUTES[source][target]) for source, target in product(MemoryType, repeat=2)
    }
    shared = {pair for pair, row in routes.items() if row["shares_on_cpu"]}
    assert shared == {*product(IN_HOST_MEMORY, repeat=2), ("pyclesperanto", "pyclesperanto")}


def test_looking_imports_no_array_library() -> None:
    """Only NumPy, whatever is installed."""
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in openhcs_memory(python=("-X", "importtime")).stderr.splitlines()
    }

    assert "numpy" in imported
    assert not imported & set(FRAMEWORKS)


def test_a_probe_measures_what_the_table_promises(
    document: dict[str, Any], probed: dict[tuple[str, str], dict[str, Any]]
) -> None:
    """Where both libraries work here, a pair goes the way that is tried first, and shares memory where it can."""
    working = {(row["source"], row["target"]): row for row in document["routes"]}
    tried = {pair: row for pair, row in probed.items() if row["refusal"] is None and "cupy" not in pair}

    assert len(probed) == 36
    assert ("numpy", "numpy") in tried
    assert {pair: (row["route"], row["zero_copy"]) for pair, row in tried.items()} == {
        pair: (working[pair]["routes"][0], working[pair]["shares_on_cpu"]) for pair in tried
    }
    installed = {name for name in IN_HOST_MEMORY if LIBRARIES[MemoryType(name)].installed()}
    assert set(product(installed, repeat=2)) <= set(tried)


@pytest.mark.skipif(find_inventory().why_no_gpu() is None, reason="this host has a GPU")
def test_a_probe_says_why_it_was_refused(probed: dict[tuple[str, str], dict[str, Any]]) -> None:
    """CuPy's pairs, in the inventory's own words or those of a missing package."""
    pytest.importorskip("torch")  # whose pair with CuPy would be refused for its own absence
    reason = find_inventory().why_no_gpu() if LIBRARIES[MemoryType.CUPY].installed() else "not installed"

    refused = {pair: row["refusal"] for pair, row in probed.items() if "cupy" in pair}

    assert len(refused) == 11 and all(str(reason) in sentence for sentence in refused.values())


def test_people_get_it_in_80_columns() -> None:
    """Tables are not cut off; the reason for no GPU is there in words."""
    told = openhcs_memory().stdout

    routes = told[told.index("Ways from row to column") :].splitlines()[1:8]
    assert routes[0].split() == list(MemoryType)
    assert routes[1].split() == ["numpy", "same", "●", "host", "○", *["DLPack", "●"] * 3, "host", "○"]
    assert routes[3].split()[3:5] == ["DLPack*", "◐"]
    assert (find_inventory().why_no_gpu() or "gpu:0") in told
    assert "OMP_NUM_THREADS=1" in told and "…" not in told


def test_a_terminal_without_signs_gets_letters() -> None:
    """Nothing is lost where the encoding has no circles."""
    told = openhcs_memory(PYTHONIOENCODING="latin-1").stdout

    assert "DLPack =" in told and "host +" in told and "DLPack g" in told and "\\u25" not in told


def test_settings_of_the_user_are_told_apart() -> None:
    """A variable that the user has set stays, and says so; what the engine decides is said, too."""
    settings = json.loads(openhcs_memory("--json", TF_CPP_MIN_LOG_LEVEL="0").stdout)["worker_environment"]

    found = {row["name"]: (row["value"], row["given"]) for row in settings}

    assert found["OMP_NUM_THREADS"][0] == "1"
    if LIBRARIES[MemoryType.TENSORFLOW].installed():
        assert found["TF_CPP_MIN_LOG_LEVEL"] == ("0", True)
        assert found["TF_FORCE_GPU_ALLOW_GROWTH"] == ("true", False)


def test_a_missing_library_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, in the table and for programs; it has no version."""
    monkeypatch.setattr(type(LIBRARIES[MemoryType.TORCH]), "installed", lambda adapter: False)

    report = memory_output.look(find_inventory())
    memory_output.print_memory(report)

    torch = report.libraries[list(MemoryType).index(MemoryType.TORCH)]
    assert (torch.versions, torch.install) == ((), "pip install 'openhcs-dagster[torch]'")
    assert "torch: Install it: pip install 'openhcs-dagster[torch]'" in capsys.readouterr().out


def test_a_gpu_is_listed_and_cupy_has_nothing_to_remark(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name, memory and the driver's name of it, before the slots of the CPU."""
    report = memory_output.look(HostInventory(OneGpu(), CpuInventory(3)))
    memory_output.print_memory(report)

    told = capsys.readouterr().out
    assert "gpu:0: Fake A100, 40.0 GiB (GPU-fake)\n  cpu: 3 slots" in told
    assert report.why_no_gpu is None and "No GPU" not in told
    assert report.libraries[list(MemoryType).index(MemoryType.CUPY)].remark is None
