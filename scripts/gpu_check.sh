#!/usr/bin/env bash
# All that only an NVIDIA GPU can show, within 9 minutes and without a network:
#   bash scripts/gpu_check.sh [--device cpu] [--wheels DIR] OUT [experiments/NAME ITERATIONS]
# Tests on a GPU, training steps (eager, then compiled), latency, and a training that goes on from where it stopped up
# to the given iteration, or as far as the time allows: its folder holds the options file, models/ and training_states/.
# --wheels: install first what scripts/gpu_wheels.sh put there. --device cpu: only show that everything runs, in up to
# four times as long.
# A part that fails or takes too long does not stop the others, and what is finished stays when this is killed: each
# part writes its rows at once, and after each OUT/gpu_check.tar has all so far (in shards of at most 15 MB, if it is
# larger: bash scripts/shards.sh join OUT). OUT/summary.txt tells how each part ended.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
readonly MINUTES=9 SAVE_EVERY=500
patience=1
python=$(command -v python3 || command -v python)

usage() {
    sed -n '3s/^# *//p' "$0" >&2
    exit 2
}

refuse() {
    echo "gpu_check: $1" >&2
    exit 1
}

device=cuda wheels=
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=${2:-}; shift 2 || usage ;;
        --wheels) wheels=${2:-}; shift 2 || usage ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -eq 1 ] || [ $# -eq 3 ] || usage
[ "$device" = cuda ] || [ "$device" = cpu ] || usage
out=$1 experiment=${2:-} iterations=${3:-}

if [ -n "$wheels" ]; then
    # into this Python's own site-packages: only there is the plugin's .pth read
    said=$("$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" "$wheels"/*.whl 2>&1) \
        || refuse \
        "the wheels in $wheels do not fit $("$python" --version) on this machine (${said##*$'\n'}); make them again: \
bash scripts/gpu_wheels.sh $wheels $("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')"
fi
"$python" -c 'import torch, basicsr.models, basicsr_kd, pytest' 2> /dev/null || refuse "$("$python" -c \
    'import torch, basicsr.models, basicsr_kd, pytest' 2>&1 | tail -1). Install this repository (pip install '.[test]'), \
or without a network give --wheels DIR (scripts/gpu_wheels.sh)."
if [ "$device" = cuda ]; then
    "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null \
        || refuse 'PyTorch sees no GPU here, and all of this is about one; nothing was run.'
    sizes=(--batch 16) turns=5 ways=(--ways eager 'CUDA graph') lr_size=128
else
    sizes=(--batch 1 --threads "$(getconf _NPROCESSORS_ONLN)") turns=1 ways=(--ways eager) lr_size=32 patience=4
fi
if [ -n "$experiment" ]; then
    bash scripts/shards.sh join "$experiment" 2> /dev/null
    options=$(find "$experiment" -maxdepth 1 -name '*.yml' 2> /dev/null)
    if [ "$experiment" != "experiments/$(basename "$experiment")" ] || [ ! -f "$options" ]; then
        refuse "$experiment is no folder of experiments/ with one options file (.yml) in it."
    fi
fi
mkdir -p "$out"
: > "$out/summary.txt"
failed=0

# All files so far as one, or as its shards; what there was before stays until they are there.
pack() {
    local new=$out/.packing
    rm -rf "$new" && mkdir "$new" || return
    tar -C "$out" --exclude='gpu_check.tar*' --exclude=./.packing -cf "$new/gpu_check.tar" . || return
    if [ "$(stat -c %s "$new/gpu_check.tar")" -gt 15000000 ]; then
        bash scripts/shards.sh split "$new/gpu_check.tar" "$new" && rm "$new/gpu_check.tar" || return
    fi
    mv -f "$new"/gpu_check.tar* "$out" && rmdir "$new"
    if [ -e "$out/gpu_check.tar.part-000" ]; then
        rm -f "$out/gpu_check.tar" # of when it was smaller
    fi
}

# part NAME SECONDS COMMAND…: run it with a time limit and note how it ended.
part() {
    local name=$1 left=$((patience * MINUTES * 60 - SECONDS)) start=$SECONDS limit=$((patience * $2)) code how=ok
    shift 2
    [ "$limit" -le "$left" ] || limit=$left
    [ "$limit" -gt 0 ] || limit=1
    echo "== $name, at most $limit s"
    timeout --signal=INT --kill-after=$((10 * patience)) "$limit" "$@" > "$out/$name.log" 2>&1
    code=$?
    if [ "$code" -ne 0 ]; then
        how="failed with code $code"
        [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || how='ran out of time'
        failed=1
    fi
    echo "$name: $how after $((SECONDS - start)) s (limit $limit s), $name.log" | tee -a "$out/summary.txt"
    pack
}

# Of the options, networks and states only the newest, and what has no iteration in its name.
copy_training() {
    local newest file folder
    newest=$(find "$experiment/training_states" -name '*.state' -printf '%f\n' | sort -n | tail -1)
    newest=${newest%.state}
    find "$experiment" -path "$experiment/visualization" -prune -o -type f -print | while IFS= read -r file; do
        case $(basename "$file") in
            *_"$newest".* | "$newest".state | pool_*.pth) ;;
            *_latest.* | *_[0-9]*.pth | *_[0-9]*.yml | [0-9]*.state) continue ;;
        esac
        folder=$out/training/$(dirname "${file#"$experiment"/}")
        mkdir -p "$folder" && cp "$file" "$folder"
    done
}

# the files by name: all others want more packages
part tests 150 "$python" -m pytest -m gpu --durations=10 tests/models/test_gpu.py tests/deploy/test_tiles.py \
    tests/data/test_tecogan_degradation.py
part eager 130 "$python" scripts/bench_train.py --device "$device" "${sizes[@]}" --turns "$turns" --no-memory \
    --profile --output "$out/eager"
part compiled 110 "$python" scripts/bench_train.py --device "$device" "${sizes[@]}" --turns "$turns" --no-memory \
    --no-eager --compile reduce-overhead default --output "$out/compiled"
part latency 60 "$python" scripts/bench_latency.py --device "$device" "${ways[@]}" --lr-size "$lr_size" \
    --output "$out/latency"
if [ -n "$experiment" ]; then
    # BasicSR copies the options file into that folder, so it must not come from there
    cp "$options" "$out"
    part training $((MINUTES * 60 - SECONDS / patience - 20)) \
        "$python" basicsr/train.py -opt "$out/$(basename "$options")" --auto_resume --force_yml \
        "train:total_iter=$iterations" "logger:save_checkpoint_freq=$SAVE_EVERY"
    copy_training
    echo "training: its newest files are in training/" | tee -a "$out/summary.txt"
    pack
fi
printf '\nSummary\n'
cat "$out/summary.txt"
exit "$failed"
