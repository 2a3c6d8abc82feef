#!/usr/bin/env bash
# Runs on each worker of a TPU VM slice, in the home folder; tpu_vm.sh calls it.
# usage: bash tpu_vm_worker.sh setup BUCKET | train TRAIN OPTIONS | stop
set -euo pipefail
cd "$HOME"
venv=$HOME/lipsync_venv
log=$HOME/lipsync_train.log
pid_file=$HOME/lipsync_train.pid

setup() { # BUCKET, or "" for none
    local apt=(sudo apt-get -qq -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update
    "${apt[@]}" install -y libgl1 libegl1 libgles2 libglib2.0-0 libxcb1
    # The images' own Python is older than 3.11. (Newer images protect theirs.)
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
    python3 -m uv venv --quiet --allow-existing --python 3.11 "$venv"
    python3 -m uv pip install --quiet --python "$venv" --editable "./lipsync_jax[tpu]"
    [ -z "$1" ] || mount_bucket "$1"
}

mount_bucket() { # BUCKET: at /mnt/BUCKET
    local folder=/mnt/$1
    mountpoint -q "$folder" && return
    command -v gcsfuse >/dev/null || install_gcsfuse
    sudo mkdir -p "$folder"
    sudo chown "$USER" "$folder"
    # Folders of a checkpoint are renamed; the other workers must see that at once.
    gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 \
        "$1" "$folder"
}

install_gcsfuse() {
    local key=/usr/share/keyrings/cloud.google.asc
    local packages=https://packages.cloud.google.com/apt
    curl -fsSL "$packages/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
    echo "deb [signed-by=$key] $packages gcsfuse-$(lsb_release -cs) main" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
    sudo apt-get -qq -o DPkg::Lock::Timeout=300 install -y gcsfuse
}

running() {
    [ -f "$pid_file" ] && kill -0 "$(<"$pid_file")" 2>/dev/null
}

train() { # TRAIN OPTIONS
    if running; then
        echo "$HOSTNAME: already training; stop it first" >&2
        exit 2
    fi
    cd "$HOME/lipsync_jax"
    # A session of its own: it goes on when the connection ends.
    JAX_PLATFORMS=tpu,cpu setsid "$venv/bin/lipsync" train "$@" --distributed \
        >>"$log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    sleep 20 # long enough for a wrong option to show
    if ! running; then
        echo "$HOSTNAME: training has ended; the last lines of its log:" >&2
        tail -n 20 "$log" >&2
        wait $!
    fi
}

stop() {
    running || return 0
    kill -TERM "$(<"$pid_file")"
    while running; do
        sleep 1
    done
}

"$@"
