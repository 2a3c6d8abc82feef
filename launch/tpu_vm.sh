#!/usr/bin/env bash
# Trains on a Cloud TPU VM slice: every action runs on all of its workers.
# usage: bash launch/tpu_vm.sh ACTION --name NAME --zone ZONE [OPTIONS] [-- TRAIN OPTIONS]
# ACTION is one of
#   create    asks for the slice
#   status    says how far the request is; go on when it is ACTIVE (or READY)
#   setup     copies this repository as committed, installs it, mounts the bucket
#   train     starts training in the background, or resumes it from the workdir
#   stop      makes training save and end
#   logs      fetches the logs
#   delete    gives the slice back
# OPTIONS:
#   --name NAME               name of the slice
#   --zone ZONE               e.g. us-east5-b
#   --project NAME            (default: that of gcloud)
#   --accelerator_type TYPE   create: e.g. v6e-16
#   --runtime_version NAME    create: e.g. v2-alpha-tpuv6e
#   --api NAME                create, status, delete: queued-resources, which waits for
#                             capacity (the default), or tpu-vm
#   --spot                    create: cheaper, can be preempted
#   --bucket NAME             setup: Cloud Storage bucket to mount at /mnt/NAME
#   --logs DIR                logs: folder for I.log of each worker (default: logs)
#   --dry_run                 print the commands, run nothing
# TRAIN OPTIONS, for train, are those of `lipsync train`; paths are the workers', so data
# and workdir are folders under /mnt/BUCKET. After a preemption: delete, create, setup and
# train again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

option=(
    [name]="" [zone]="" [project]="" [accelerator_type]="" [runtime_version]=""
    [api]=queued-resources [spot]=false [bucket]="" [logs]=logs [dry_run]=false
)
action=${1:-}
case $action in
    create | status | setup | train | stop | logs | delete) shift ;;
    -h | --help) ;;
    *) die "expected an action (create, status, setup, train, stop, logs, delete)," \
        "found '$action'" ;;
esac
parse_options "$@"
require name zone logs
[[ ${option[api]} == queued-resources || ${option[api]} == tpu-vm ]] ||
    die "--api: expected queued-resources or tpu-vm, found '${option[api]}'"
need gcloud "install the Google Cloud CLI and log in"

where=(--zone="${option[zone]}")
[ -z "${option[project]}" ] || where+=(--project="${option[project]}")
request=(gcloud compute tpus "${option[api]}")
worker_script=lipsync_jax/launch/tpu_vm_worker.sh

on_workers() { # COMMAND [GCLOUD OPTIONS...]
    run gcloud compute tpus tpu-vm ssh "${option[name]}" "${where[@]}" --worker=all \
        --command="$1" "${@:2}"
}

create() {
    require accelerator_type runtime_version
    local extra=()
    if [ "${option[api]}" = queued-resources ]; then
        extra+=(--node-id="${option[name]}" --runtime-version="${option[runtime_version]}")
    else
        extra+=(--version="${option[runtime_version]}")
    fi
    [ "${option[spot]}" = false ] || extra+=(--spot)
    run "${request[@]}" create "${option[name]}" "${where[@]}" \
        --accelerator-type="${option[accelerator_type]}" "${extra[@]}"
}

status() {
    local state=state.state
    [ "${option[api]}" = queued-resources ] || state=state
    run "${request[@]}" describe "${option[name]}" "${where[@]}" "--format=value($state)"
}

setup() {
    local archive=build/lipsync_jax.tar.gz
    run mkdir -p build
    run git archive --format=tar.gz --output="$archive" HEAD
    run gcloud compute tpus tpu-vm scp "$archive" "${option[name]}:" "${where[@]}" \
        --worker=all
    on_workers "rm -rf lipsync_jax && mkdir lipsync_jax &&\
 tar -xzf lipsync_jax.tar.gz -C lipsync_jax &&\
 $(quote bash "$worker_script" setup "${option[bucket]}")"
}

train() {
    require_train_options
    on_workers "$(quote bash "$worker_script" train "${train_options[@]}")"
}

stop() {
    on_workers "bash $worker_script stop"
}

logs() {
    run mkdir -p "${option[logs]}"
    on_workers "cat lipsync_train.log" --output-directory="${option[logs]}"
}

delete() {
    local force=()
    [ "${option[api]}" = tpu-vm ] || force=(--force)
    run "${request[@]}" delete "${option[name]}" "${where[@]}" "${force[@]}" --quiet
}

"$action"
