#!/usr/bin/env bash
# The batch job that slurm.sh submits: runs COMMAND once per GPU.
# usage: sbatch OPTIONS slurm_job.sh LOGS COMMAND...
set -euo pipefail
logs=$1
shift

# `lipsync train` ends so when SIGTERM made it save and stop.
readonly STOPPED=143

# JAX gives the I-th process of a node the I-th GPU it sees: let it see all of them.
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda,cpu}
status=0
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --gpu-bind=none --open-mode=append \
    --output="$logs/%x_%j_process_%t.log" "$@" || status=$?
if [ "$status" -eq "$STOPPED" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
