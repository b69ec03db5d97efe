"""Look for published vulnerabilities in the packages of an environment: ``audit.py PIP_AUDIT PYTHON``.

Exit codes: 0 none is known, or no advisory service can be reached (a sentence says so: then nothing was audited, and a
laboratory without Internet is no fault of the packages); 1 some are known; 2 the audit itself failed.

pip-audit ends with 1 both when it found something and when it could not ask; only a report on its standard output tells
the two apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

OK: Final = 0
VULNERABLE: Final = 1
FAILED: Final = 2
SERVICE: Final = "osv"
"""Open Source Vulnerabilities, https://osv.dev."""
_UNREACHABLE: Final = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "ServiceError")
"""Exceptions with whose traceback pip-audit 2.10 ends when the service does not answer."""


def packages_of(python: str) -> str:
    """The folder of an interpreter's installed packages."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def judge(report: str, complaints: str) -> tuple[int, str]:
    """Exit code and sentences for what pip-audit wrote to its standard output and its standard error."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = complaints.strip().splitlines()[-1] if complaints.strip() else "it said nothing"
        if any(name in last for name in _UNREACHABLE):
            return OK, f"No advisory service can be reached from here, so nothing was audited ({last})."
        return FAILED, f"The audit failed: {last}\n{complaints}"
    skipped = [
        f"{package['name']} was not audited: {package['skip_reason']}"
        for package in packages
        if "skip_reason" in package
    ]
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, repaired in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    ]
    asked = len(packages) - len(skipped)
    within = f"in {asked} package{'' if asked == 1 else 's'}."
    total = f"Published vulnerabilities: {len(found)} {within}" if found else f"No published vulnerability {within}"
    return VULNERABLE if found else OK, "\n".join([*skipped, *found, total])


def main(pip_audit: str, python: str) -> int:
    """Audit the packages of an interpreter, without this project itself."""
    done = subprocess.run(
        [pip_audit, "--vulnerability-service", SERVICE, "--format", "json", "--progress-spinner", "off",
         "--skip-editable", "--path", packages_of(python)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    code, sentences = judge(done.stdout, done.stderr)
    print(sentences)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
