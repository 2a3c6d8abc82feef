# Sourced by the launch scripts: a virtual environment with the project in it.
# usage: set_up_environment EXTRA   (an extra of setup.py, or "" for none)

set_up_environment() {
    local extra=$1
    local venv=${LIPSYNC_VENV:-.venv}
    local python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "lipsync_jax needs Python 3.11 or newer; set PYTHON to one" >&2
        return 2
    }
    # Install again only when setup.py or the extra has changed.
    local stamp="$venv/.installed-${extra:-base}"
    if [ ! -f "$stamp" ] || [ setup.py -nt "$stamp" ]; then
        echo "setting up $venv (a few minutes the first time)" >&2
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --upgrade pip
        "$venv/bin/python" -m pip install -qq --editable ".${extra:+[$extra]}"
        touch "$stamp"
    fi
    export PATH="$PWD/$venv/bin:$PATH"
}
