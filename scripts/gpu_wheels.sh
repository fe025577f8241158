#!/usr/bin/env bash
# What scripts/gpu_check.sh needs on a machine without a network, as wheels:
#   bash scripts/gpu_wheels.sh DIR [VERSION] [NAME…]    for Python VERSION there (default: 3.12), Linux on x86-64
# basicsr and this plugin are built here. Downloaded is what they need besides PyTorch with torchvision, NumPy, SciPy,
# OpenCV, scikit-image, Pillow, matplotlib, PyYAML, safetensors, TensorBoard, rich, requests, pytest and tqdm; a further
# NAME is one more package that is missing there.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [[ ${2:-3.12} != 3.* ]]; then
    sed -n '3,6s/^# *//p' "$0" >&2
    exit 2
fi
folder=$1 version=${2:-3.12}
packages=(addict future lmdb lpips mmengine msgspec platformdirs spandrel termcolor torch-pruning yapf einops "${@:3}")
platforms=()
for platform in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${platform}_x86_64")
done
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "$version" \
    "${platforms[@]}" --dest "$folder" "${packages[@]}"
# their source packages need neither what they run with nor the other Python
python3 -m pip wheel --quiet --no-deps --wheel-dir "$folder" basicsr==1.4.2 .
echo "$(ls "$folder"/*.whl | wc -l) wheels for Python $version in $folder ($(du -sh "$folder" | cut -f1))"
