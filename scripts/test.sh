#!/usr/bin/env bash
# Everything that must hold before a change is handed in; arguments go to pytest: bash scripts/test.sh -k prune
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh test

ruff check .
mypy
python -m pytest "$@"
