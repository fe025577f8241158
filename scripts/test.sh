#!/usr/bin/env bash
# Everything that must hold before a change is handed in; arguments go to pytest: bash scripts/test.sh -k prune
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh test

ruff check .
mypy
export OMP_NUM_THREADS=1  # two processes with a thread each: faster than one with two
python -m pytest -n 2 --ignore=tests/deploy/test_export.py "$@"
# in fresh processes: one that had run hundreds of tests ended, without a word, in its first for ncnn
[ $# -gt 0 ] || python -m pytest -n 2 tests/deploy/test_export.py
