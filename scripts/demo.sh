#!/usr/bin/env bash
# Install what is needed (into .venv, or the environment that is active), then show the main job on the photos that come
# with scikit-image: a small teacher is pruned and distilled.
#   bash scripts/demo.sh --iters 100  only shows that everything runs
#   bash scripts/demo.sh --real       halves the time of RealESRGAN_x4plus instead, without training
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = --real ]; then
    shift
    source scripts/env.sh openvino
    python scripts/demo_real.py "$@"
else
    source scripts/env.sh '' # no extra; without an argument it would see ours
    python scripts/demo.py "$@"
fi
