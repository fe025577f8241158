# Sourced by the other scripts, from the root of the repository: `. scripts/env.sh test`, or `. scripts/env.sh ''` for no
# extra (with no argument at all it would read those of the script that sources it).
# Activates a Python environment in which this repository is installed (with the extra, such as `test`): the active
# virtualenv or conda environment, else `.venv` here, made with python3 where it is missing. Installs only when
# setup.py or pyproject.toml changed since the last time.

fail() {
    echo "error: $*" >&2
    exit 1
}

make_environment() {
    local python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
        || fail "$python is not Python 3.10 or later; name another one: PYTHON=/path/to/python3 bash $0"
    echo "Making .venv with $("$python" --version)"
    # Debian's python3 comes without ensurepip; its pip can furnish the environment instead.
    "$python" -m venv .venv > /dev/null 2>&1 \
        || { "$python" -m venv --without-pip .venv && "$python" -m pip --python .venv install --quiet pip; } \
        || fail 'python could not make .venv. On Debian or Ubuntu: apt-get install python3-venv'
}

install_repository() {
    local extra=$1 stamp fingerprint
    stamp=$(python -c 'import sys; print(sys.prefix)')/basicsr-kd${extra:+-$extra}.installed
    fingerprint="$PWD $(cat setup.py pyproject.toml | cksum)"
    if [ "$(cat "$stamp" 2> /dev/null)" = "$fingerprint" ] && python -m pip show --quiet basicsr-kd 2> /dev/null; then
        return
    fi
    echo "Installing basicsr-kd and what it needs (PyTorch is large: this takes minutes the first time)"
    if python -c 'import sys; sys.exit(sys.version_info < (3, 13))' && ! python -m pip show --quiet basicsr 2> /dev/null; then
        bash scripts/install_basicsr.sh || fail 'basicsr could not be built; the messages are above'
    fi
    # Python compiles what it imports; all 6 GB of it would take pip most of a minute. A pip before 23.1, as Python 3.10
    # brings it, cannot build basicsr otherwise: its setup.py wants PyTorch as an egg
    python -m pip install --use-pep517 --no-compile --editable ".${extra:+[$extra]}" || fail 'pip could not install; its messages are above'
    echo "$fingerprint" > "$stamp"
}

# opencv-python needs libGL, which a machine without a desktop may lack; the headless build has no use for it.
check_opencv() {
    python -c 'import cv2' 2> /dev/null && return
    local headless='pip install --force-reinstall --no-deps opencv-python-headless'
    if [ "${VIRTUAL_ENV:-}" = "$PWD/.venv" ]; then
        echo 'OpenCV does not import here (system libraries?), so .venv gets its headless build'
        python -m $headless && python -c 'import cv2' && return
    fi
    fail "OpenCV does not import. On Debian or Ubuntu: apt-get install libgl1 libglib2.0-0; without root: $headless"
}

if [ -z "${VIRTUAL_ENV:-}" ] && { [ -z "${CONDA_PREFIX:-}" ] || [ "${CONDA_DEFAULT_ENV:-}" = base ]; }; then
    [ -f .venv/bin/activate ] || make_environment
    . .venv/bin/activate
fi
install_repository "${1:-}"
check_opencv

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(getconf _NPROCESSORS_ONLN)}
