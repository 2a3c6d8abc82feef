#!/usr/bin/env bash
# Trains with several processes on this machine: one per GPU, or some on the CPU.
# usage: bash launch/local.sh (--gpus LIST | --processes N) [OPTIONS] -- TRAIN OPTIONS
#   --gpus LIST       one process for each of these GPUs, e.g. 0,1,2,3
#   --processes N     this many processes on the CPU
#   --logs DIR        folder for process_I.log of each process (default: logs)
#   --port PORT       port of the coordinator (default: a free one)
#   --grace SECONDS   left to the others when one process fails (default: 30)
#   --dry_run         print the commands, run nothing
# TRAIN OPTIONS are those of `lipsync train`. Process 0 also writes to the terminal.
# Ctrl-C and SIGTERM are passed on, so that training saves; the second one kills.
# The exit code is that of the first process that failed, else 0.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/common.sh"

option=(
    [gpus]="" [processes]="" [logs]=logs [port]="" [grace]=30 [dry_run]=false
)
parse_options "$@"
require_number grace
require_train_options

IFS=, read -ra gpus <<<"${option[gpus]}"
if [[ -n ${option[gpus]} && -n ${option[processes]} ]]; then
    die "--gpus and --processes exclude each other"
elif [ -n "${option[gpus]}" ]; then
    count=${#gpus[@]}
else
    require_number processes
    count=${option[processes]}
fi
need lipsync "activate the environment it is installed in"

port=${option[port]:-$(python3 -c '
import socket
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    print(probe.getsockname()[1])')}

set_command() { # INDEX: fills `command` with that of one process
    command=(env)
    if [ -n "${option[gpus]}" ]; then
        command+=("JAX_PLATFORMS=cuda,cpu" "CUDA_VISIBLE_DEVICES=${gpus[$1]}")
    else
        command+=(JAX_PLATFORMS=cpu)
    fi
    command+=(
        lipsync train "${train_options[@]}" --coordinator "127.0.0.1:$port"
        --num_processes "$count" --process_id "$1"
    )
}

log_of() { # INDEX
    printf '%s' "${option[logs]}/process_$1.log"
}

if dry_run; then
    for ((i = 0; i < count; i++)); do
        set_command "$i"
        echo "$(quote "${command[@]}") > $(quote "$(log_of "$i")") 2>&1"
    done
    exit
fi

pids=()
interrupted=false

signal() { # NAME: to the processes that still run
    [ ${#pids[@]} -eq 0 ] || kill "-$1" "${pids[@]}" 2>/dev/null || true
}

# shellcheck disable=SC2329  # called by the trap
interrupt() {
    if [ "$interrupted" = true ]; then
        signal KILL
    else
        interrupted=true
        signal TERM
    fi
}

mkdir -p "${option[logs]}"
exec {both}> >(exec tee -i "$(log_of 0)")
tee_pid=$!
trap interrupt INT TERM
for ((i = 0; i < count; i++)); do
    set_command "$i"
    if [ "$i" -eq 0 ]; then
        "${command[@]}" >&"$both" 2>&1 {both}>&- &
    else
        "${command[@]}" >"$(log_of "$i")" 2>&1 {both}>&- &
    fi
    pids[i]=$!
done
exec {both}>&-

status=0
deadline=""
while [ ${#pids[@]} -gt 0 ]; do
    sleep 0.2 || true # Ctrl-C ends it, too
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null && continue
        code=0
        wait "${pids[i]}" || code=$?
        unset "pids[i]"
        [[ $code -ne 0 && $status -eq 0 ]] || continue
        status=$code
        echo "${0##*/}: process $i ended with exit code $code: $(log_of "$i")" >&2
        if [ "$interrupted" = false ]; then
            # The others would wait for it for ever.
            signal TERM
            deadline=$((SECONDS + option[grace]))
        fi
    done
    if [[ -n $deadline && $SECONDS -ge $deadline ]]; then
        signal KILL
        deadline=""
    fi
done
wait "$tee_pid" || true
exit "$status"
