#!/usr/bin/env bash
# Install what is needed (into .venv, or the environment that is active), then run the main job on the photos that come
# with scikit-image. `bash scripts/demo.sh --iters 100` only shows that everything runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh '' # no extra; without an argument it would see ours
python scripts/demo.py "$@"
