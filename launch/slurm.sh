#!/usr/bin/env bash
# Submits a training job to SLURM: one process per GPU, on one or many nodes.
# usage: bash launch/slurm.sh --nodes N --gpus_per_node N --time LIMIT [OPTIONS]
#            -- TRAIN OPTIONS
#   --nodes N            number of nodes
#   --gpus_per_node N    GPUs of each node; take whole nodes
#   --time LIMIT         time limit of one stretch, e.g. 24:00:00
#   --cpus_per_task N    CPU cores for each process (default: 8)
#   --partition NAME     partition (default: the cluster's)
#   --account NAME       account (default: yours)
#   --name NAME          name of the job (default: lipsync)
#   --logs DIR           folder of the logs, one per process (default: logs)
#   --grace SECONDS      warning before the time limit, to save in (default: 120)
#   --dry_run            print the command, submit nothing
# TRAIN OPTIONS are those of `lipsync train`. Activate the environment first: the job
# inherits it. Paths must be on a file system that all nodes share. When the time is up
# or the job is preempted, training saves and the job goes back into the queue; it
# resumes from the workdir. Other options of sbatch: its SBATCH_... variables.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source-path=SCRIPTDIR
source "$here/common.sh"

option=(
    [nodes]="" [gpus_per_node]="" [time]="" [cpus_per_task]=8 [partition]="" [account]=""
    [name]=lipsync [logs]=logs [grace]=120 [dry_run]=false
)
parse_options "$@"
require_number nodes gpus_per_node cpus_per_task grace
require time name logs
require_train_options
need sbatch "run this on a login node of the cluster"
need lipsync "activate the environment it is installed in"

command=(
    sbatch --job-name="${option[name]}" --nodes="${option[nodes]}"
    --ntasks-per-node="${option[gpus_per_node]}" --gpus-per-node="${option[gpus_per_node]}"
    --cpus-per-task="${option[cpus_per_task]}" --time="${option[time]}"
    --signal="TERM@${option[grace]}" --requeue --open-mode=append --export=ALL
    --output="${option[logs]}/%x_%j.log"
)
for name in partition account; do
    [ -z "${option[$name]}" ] || command+=("--$name=${option[$name]}")
done
run mkdir -p "${option[logs]}"
run "${command[@]}" "$here/slurm_job.sh" "${option[logs]}" lipsync train \
    "${train_options[@]}" --distributed
