#!/usr/bin/env bash
# Files as shards of at most 15 MB, for where larger ones cannot be sent, and back:
#   bash scripts/shards.sh split FILE… DIR   every FILE as DIR/NAME.part-000, …; DIR is made
#   bash scripts/shards.sh join DIR          every file of which there are shards in DIR or below, in place of them
# Without this script: cat NAME.part-* > NAME
set -euo pipefail

usage() {
    sed -n '3,4s/^# *//p' "$0" >&2
    exit 2
}

split_files() {
    local folder=${!#} file
    mkdir -p "$folder"
    for file in "${@:1:$#-1}"; do
        split --bytes=15000000 --numeric-suffixes --suffix-length=3 "$file" "$folder/$(basename "$file").part-"
    done
}

join_files() {
    local first name
    find "$1" -name '*.part-000' -print0 | while IFS= read -r -d '' first; do
        name=${first%.part-000}
        cat "$name".part-* > "$name.joined"
        mv "$name.joined" "$name"
        rm "$name".part-*
    done
}

case "${1:-} $#" in
    'split '[3-9] | 'split '[1-9][0-9]*) split_files "${@:2}" ;;
    'join 2') join_files "$2" ;;
    *) usage ;;
esac
