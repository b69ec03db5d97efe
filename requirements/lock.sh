#!/usr/bin/env bash
# Resolve the locks anew: lock.sh UV. The array libraries take part, so that they install beside a lock without changing
# it, and are left out of what is written: which build of them a machine takes is not for a lock to say. The extra
# "measure" takes no part: what it needs asks for Pillow below 12, and would hold all others back.
set -euo pipefail
uv=$1
cd "$(dirname "$0")/.."
resolved=$(mktemp -d)
trap 'rm -rf "$resolved"' EXIT
mapfile -t extras < <("$(dirname "$uv")/python" -c '
import tomllib
for extra in tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]:
    if extra != "measure":
        print(f"--extra={extra}")')

compile() {
    "$uv" pip compile --quiet --upgrade --no-header --no-emit-index-url --no-annotate \
        --python-platform x86_64-manylinux_2_28 "$@" pyproject.toml requirements/build.in
}

# x.y.1: a requirement of "Python > 3.11" leaves out 3.11.0 alone.
for python in 3.11 3.12 3.13; do
    echo "Python $python ..."
    compile --python-version "$python.1" "${extras[@]}" --constraints constraints.txt --output-file "$resolved/all.txt"
    compile --python-version "$python.1" --constraints "$resolved/all.txt" \
        --generate-hashes --output-file "requirements/py$python.lock"
    compile --python-version "$python.1" --constraints "$resolved/all.txt" --extra dev \
        --generate-hashes --output-file "requirements/py$python-dev.lock"
done
