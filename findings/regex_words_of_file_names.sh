#!/usr/bin/env bash
# regex 2026.11.19, in its default version that is to behave as re: \w is another class of letters. It refuses the ² of
# "10µm²" and takes the combining mark of a decomposed umlaut; Python 3.11's and 3.12's re do the opposite. And
# "(?:plate){e}", which re reads letter by letter, is an approximate match. Guessed: V0 means what re means.
# Bites: file names of exported plates matched by a lab's stored pattern are other files with the other module.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check regex==2026.11.19
"$folder/venv/bin/python" - <<'PROGRAM'
import re
from importlib.metadata import version

import regex

names = {"squared": "10µm²", "decomposed": "Pru\u0308fung"}
found = {name: (re.fullmatch(r"\w+", text) is not None, regex.fullmatch(r"\w+", text) is not None) for name, text in names.items()}
fuzzy = re.fullmatch(r"(?:plate){e}", "plat") is not None, regex.fullmatch(r"(?:plate){e}", "plat") is not None
print(f"(re, regex {version('regex')}):", found, "approximate:", fuzzy)
assert found == {"squared": (True, False), "decomposed": (False, True)}, found
assert fuzzy == (False, True), fuzzy
PROGRAM
