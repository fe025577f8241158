#!/usr/bin/env bash
# Installs basicsr 1.4.2 into the active environment on Python 3.13 and later, where pip alone cannot build its source
# package: its setup.py looks for `locals()` that an `exec` set, which Python 3.13 ended (BasicSR issue 725).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# This fails as pip install does, but leaves the unpacked source behind.
TMPDIR=$work python -m pip download --no-clean --no-deps --no-binary basicsr --dest "$work" basicsr==1.4.2 \
    > "$work/log" 2>&1 || true
setup=$(find "$work" -path '*/basicsr_*/setup.py' -print -quit)
if [ -z "$setup" ]; then
    cat "$work/log" >&2
    exit 1
fi
sed -i.original "s/return locals()\['__version__'\]/return open('VERSION').read().strip()/" "$setup"
python -m pip install "$(dirname "$setup")"
