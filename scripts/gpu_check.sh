#!/usr/bin/env bash
# All that only an NVIDIA GPU can show, within 9 minutes:
#   bash scripts/gpu_check.sh OUT                                      the tests on a GPU, training steps, latency
#   bash scripts/gpu_check.sh OUT experiments/kd_esrgan_s16 20000      and that training from where it stopped on
# A training goes on up to the given iteration, or as far as the time allows. Its folder holds the options file, models/
# and training_states/, whole or in shards, and OUT/training gets them again in shards of at most 15 MB:
#   cp -r OUT/training experiments/kd_esrgan_s16; bash scripts/shards.sh join experiments/kd_esrgan_s16
# A part that fails or takes too long does not stop the others. OUT/summary.txt tells how each ended, with its log.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
readonly MINUTES=9 SAVE_EVERY=500

if [ $# -ne 1 ] && [ $# -ne 3 ]; then
    sed -n '3,4s/^# *//p' "$0" >&2
    exit 2
fi
out=$1 experiment=${2:-} iterations=${3:-}
# a machine without a way to a package index may have all that is needed
python -c 'import torch, basicsr.models, pytest' 2> /dev/null || . scripts/env.sh test
if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    echo 'gpu_check: PyTorch sees no GPU here, and all of this is about one; nothing was run.' >&2
    exit 1
fi
if [ -n "$experiment" ]; then
    bash scripts/shards.sh join "$experiment" 2> /dev/null
    options=$(find "$experiment" -maxdepth 1 -name '*.yml' 2> /dev/null)
    if [ "$experiment" != "experiments/$(basename "$experiment")" ] || [ ! -f "$options" ]; then
        echo "gpu_check: $experiment is no folder of experiments/ with one options file (.yml) in it." >&2
        exit 1
    fi
fi
mkdir -p "$out"
: > "$out/summary.txt"
failed=0

# part NAME SECONDS COMMAND…: run it with a time limit and note how it ended.
part() {
    local name=$1 left=$((MINUTES * 60 - SECONDS)) start=$SECONDS limit=$2 code how=ok
    shift 2
    [ "$limit" -le "$left" ] || limit=$left
    [ "$limit" -gt 0 ] || limit=1
    echo "== $name, at most $limit s"
    timeout --signal=INT --kill-after=5 "$limit" "$@" > "$out/$name.log" 2>&1
    code=$?
    if [ "$code" -ne 0 ]; then
        how="failed with code $code"
        [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || how='ran out of time'
        failed=1
    fi
    echo "$name: $how after $((SECONDS - start)) s (limit $limit s), $out/$name.log" | tee -a "$out/summary.txt"
}

# Of the options, networks and states only the newest, and what has no iteration in its name.
shards_of_training() {
    local newest file folder
    newest=$(find "$experiment/training_states" -name '*.state' -printf '%f\n' | sort -n | tail -1)
    newest=${newest%.state}
    find "$experiment" -path "$experiment/visualization" -prune -o -type f -print | while IFS= read -r file; do
        case $(basename "$file") in
            *_"$newest".* | "$newest".state) ;;
            *_latest.* | *_[0-9]*.pth | *_[0-9]*.yml | [0-9]*.state) continue ;;
        esac
        folder=$(dirname "${file#"$experiment"/}")
        bash scripts/shards.sh split "$file" "$out/training/$folder"
    done
}

part tests 90 python -m pytest -m gpu
part bench_train 230 python scripts/bench_train.py --device cuda --compile default --output "$out/bench_train"
part latency 110 python scripts/bench_latency.py --budget 70 --output "$out/latency"
if [ -n "$experiment" ]; then
    # BasicSR copies the options file into that folder, so it must not come from there
    cp "$options" "$out"
    part training $((MINUTES * 60 - SECONDS - 15)) \
        python basicsr/train.py -opt "$out/$(basename "$options")" --auto_resume --force_yml \
        "train:total_iter=$iterations" "logger:save_checkpoint_freq=$SAVE_EVERY"
    shards_of_training
    echo "training: shards in $out/training; bash scripts/shards.sh join FOLDER puts them together" \
        | tee -a "$out/summary.txt"
fi
printf '\nSummary\n'
cat "$out/summary.txt"
exit "$failed"
