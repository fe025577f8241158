#!/usr/bin/env bash
# Everything that must hold before a change is handed in; arguments go to pytest: bash scripts/test.sh -k prune
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh test

ruff check .
mypy
# two processes with a thread each: faster than one with two
OMP_NUM_THREADS=1 python -m pytest -n 2 "$@"
