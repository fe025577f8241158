#!/usr/bin/env bash
# Everything that must hold before a change is handed in; arguments go to pytest: bash scripts/test.sh -k prune
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh test

ruff check .
mypy
# yapf, which mmengine imports, writes a cache in the home folder the first time; of two processes at once, one would
# read what the other has written half
python -c 'import yapf'
# two processes with a thread each: faster than one with two
OMP_NUM_THREADS=1 python -m pytest -n 2 "$@"
