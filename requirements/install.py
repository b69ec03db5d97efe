"""Install the project into the environment of the Python that runs this, from a lock where one fits.

``install.py`` installs what the product needs; ``install.py --dev`` its test tools and the array libraries, too;
``install.py --wheel FILE`` installs a built wheel of the project instead of the folder.
A library that cannot be had here is left out, and ``left-out.json`` in the environment says why.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
LOCKED_FOR = "Linux x86_64 with glibc"
CPU_BUILD = "+cpu"
"""How PyTorch's builds without CUDA are called on Linux."""

NOT_TO_BE_HAD = ("No matching distribution", "ResolutionImpossible")
"""How pip calls a version that is nowhere; the second where this machine has constraints of its own for it."""


def find_lock(python: str, host: str, dev: bool) -> Path | None:
    """The lock for a Python, such as ``3.11``, on a host as ``host_name`` calls it; None where no lock fits."""
    lock = REPOSITORY / "requirements" / f"py{python}{'-dev' if dev else ''}.lock"
    return lock if host == LOCKED_FOR and lock.is_file() else None


def host_name() -> str:
    """System, processor and C library, as far as wheels differ by them."""
    libc = platform.libc_ver()[0]
    return f"{platform.system()} {platform.machine()}{f' with {libc}' if libc else ''}"


def array_libraries() -> dict[str, str]:
    """Version of each array library that is tested, by its distribution's name."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if re.match(r"\w", line))


def install_project(dev: bool, wheel: str | None = None) -> None:
    """The project with what it needs: editable, or from a wheel."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = find_lock(python, host_name(), dev)
    if lock is not None:
        # A lock is whole: there is nothing left to resolve.
        subprocess.run([*PIP, "--no-deps", "--require-hashes", "--requirement", str(lock)], check=True)
        own = ["--no-deps", *([wheel] if wheel else ["--no-build-isolation", "--editable", "."])]
    else:
        print(
            f"No lock fits Python {python} on {host_name()} (there are locks for 3.11 to 3.13 on {LOCKED_FOR}): "
            "installing unlocked, whatever releases pyproject.toml allows today."
        )
        own = ["--constraint", "constraints.txt", *([wheel] if wheel else ["--editable", ".[dev]" if dev else "."])]
    subprocess.run([*PIP, *own], check=True, cwd=REPOSITORY)


def install_array_libraries() -> dict[str, str]:
    """The array libraries one by one; those that cannot be had here, each with its reason."""
    left_out = {}
    for name, version in array_libraries().items():
        only_cpu = name == "torch" and host_name() == LOCKED_FOR
        wanted = f"{name}=={version}{CPU_BUILD if only_cpu else ''}"
        done = subprocess.run([*PIP, wanted], capture_output=True, text=True)
        if done.returncode == 0:
            continue
        # pip ends in the same words where it reached no server at all.
        if not any(words in done.stderr for words in NOT_TO_BE_HAD) or "Retrying" in done.stderr:
            raise SystemExit(f"{wanted} could not be installed:\n{done.stderr}")
        here = f"Python {platform.python_version()} on {host_name()}"
        left_out[name] = (
            f"only its CUDA build, of gigabytes, is to be had for {here}; install it by hand to test with it"
            if only_cpu
            else f"there is no {wanted} for {here}"
        )
        print(f"{name} is left out: {left_out[name]}.")
    return left_out


def main(arguments: list[str]) -> None:
    """Install, and write down what was left out."""
    if arguments[:1] == ["--wheel"]:
        install_project(dev=False, wheel=arguments[1])
        return
    dev = arguments == ["--dev"]
    install_project(dev)
    if dev:
        (Path(sys.prefix) / "left-out.json").write_text(json.dumps(install_array_libraries(), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
