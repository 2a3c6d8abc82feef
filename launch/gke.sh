#!/usr/bin/env bash
# Trains on GKE: a JobSet with one pod per node of a TPU slice or of GPU machines.
# usage: bash launch/gke.sh --name NAME --image IMAGE --accelerator NAME
#            (--topology AxB[xC] | --nodes N --gpus_per_node N)
#            (--bucket NAME | --claim NAME) [OPTIONS] -- TRAIN OPTIONS
#   --name NAME             of the JobSet: small letters, digits, hyphens, at most 40
#   --image IMAGE           container image, built from launch/Dockerfile
#   --accelerator NAME      node label, e.g. tpu-v6e-slice or nvidia-h100-80gb
#   --topology AxB[xC]      TPU: topology of the slice, as of its node pool, e.g. 4x4
#   --chips_per_node N      TPU: chips of each node, by its machine type (default: 4)
#   --nodes N               GPU: number of nodes
#   --gpus_per_node N       GPU: GPUs of each node
#   --bucket NAME           Cloud Storage bucket to mount (Cloud Storage FUSE add-on)
#   --claim NAME            PersistentVolumeClaim to mount instead, ReadWriteMany
#   --mount DIR             where to mount it (default: /data)
#   --service_account NAME  Kubernetes service account that may use the bucket
#   --namespace NAME        (default: that of the current context)
#   --spot                  run on Spot machines
#   --max_restarts N        restarts after failures; preemptions do not count (default: 3)
#   --grace SECONDS         to save in before a pod is killed (default: 120)
#   --dry_run               print the manifest, apply nothing
# TRAIN OPTIONS are those of `lipsync train`, with paths inside the container. A preempted
# run starts again by itself and resumes from the workdir. The cluster needs the JobSet
# controller.
#   logs:  kubectl logs -f --prefix -l jobset.sigs.k8s.io/jobset-name=NAME
#   end:   kubectl delete jobset NAME    (needed, too, before the same name runs again)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/common.sh"

option=(
    [name]="" [image]="" [accelerator]="" [topology]="" [chips_per_node]=4 [nodes]=""
    [gpus_per_node]="" [bucket]="" [claim]="" [mount]=/data [service_account]=""
    [namespace]="" [spot]=false [max_restarts]=3 [grace]=120 [dry_run]=false
)
parse_options "$@"
require name image accelerator mount
require_number grace max_restarts
require_train_options
need kubectl "install it and get the cluster's credentials"
[[ ${option[name]} =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    die "--name '${option[name]}' is no JobSet name: $(describe name)"
if [[ -n ${option[bucket]} && -n ${option[claim]} ]]; then
    die "--bucket and --claim exclude each other"
elif [[ -z ${option[bucket]}${option[claim]} ]]; then
    die "missing $(describe bucket) (or --claim): training needs shared storage"
fi

readonly PORT=8476
# `lipsync train` ends so when SIGTERM made it save and stop.
readonly STOPPED=143

# Machines, and how the processes find each other.
if [ -n "${option[topology]}" ]; then
    require_number chips_per_node
    [[ ${option[topology]} =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
        die "--topology: expected AxB or AxBxC, found '${option[topology]}'"
    chips=$((${option[topology]//x/*}))
    devices=${option[chips_per_node]}
    nodes=$((chips / devices))
    [ $((nodes * devices)) -eq "$chips" ] ||
        die "--chips_per_node $devices does not divide the $chips chips of" \
            "--topology ${option[topology]}"
    resource=google.com/tpu
    platforms=tpu,cpu
    # GKE tells the pods of a slice about each other.
    processes=(--distributed)
elif [[ -n ${option[nodes]}${option[gpus_per_node]} ]]; then
    require_number nodes gpus_per_node
    devices=${option[gpus_per_node]}
    nodes=${option[nodes]}
    resource=nvidia.com/gpu
    platforms=cuda,cpu
    # The first pod's name in the JobSet's headless service.
    # shellcheck disable=SC2016  # $(...) is for Kubernetes to expand
    processes=(
        --coordinator "${option[name]}-worker-0-0.${option[name]}:$PORT"
        --num_processes "$nodes" --process_id '$(JOB_COMPLETION_INDEX)'
    )
else
    die "missing $(describe topology) (or --nodes and --gpus_per_node for GPUs)"
fi

yaml() { # TEXT: a YAML string
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    printf '"%s"' "$text"
}

arguments() { # INDENT WORD...
    local word
    for word in "${@:2}"; do
        printf '%s- %s\n' "$1" "$(yaml "$word")"
    done
}

manifest() {
    cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $(yaml "${option[name]}")
END
    if [ -n "${option[namespace]}" ]; then
        echo "  namespace: $(yaml "${option[namespace]}")"
    fi
    if [ "$resource" = google.com/tpu ]; then
        cat <<END
  annotations:
    # All pods in one node pool: one slice.
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
END
    fi
    cat <<END
spec:
  failurePolicy:
    maxRestarts: ${option[max_restarts]}
    rules:
    - name: stopped
      action: RestartJobSetAndIgnoreMaxRestarts
      onJobFailureReasons: [PodFailurePolicy]
  network:
    enableDNSHostnames: true
  replicatedJobs:
  - name: worker
    replicas: 1
    template:
      spec:
        completionMode: Indexed
        parallelism: $nodes
        completions: $nodes
        backoffLimit: 0
        podFailurePolicy:
          rules:
          - action: FailJob
            onPodConditions:
            - type: DisruptionTarget
              status: "True"
          - action: FailJob
            onExitCodes:
              containerName: train
              operator: In
              values: [$STOPPED]
        template:
END
    if [ -n "${option[bucket]}" ]; then
        cat <<END
          metadata:
            annotations:
              gke-gcsfuse/volumes: "true"
END
    fi
    cat <<END
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: ${option[grace]}
            containers:
            - name: train
              image: $(yaml "${option[image]}")
              command: [lipsync, train]
              args:
$(arguments "              " "${train_options[@]//\$/\$\$}" "${processes[@]}")
              env:
              - name: JAX_PLATFORMS
                value: $(yaml "$platforms")
              ports:
              - containerPort: $PORT
              resources:
                limits:
                  $resource: $devices
              volumeMounts:
              - name: data
                mountPath: $(yaml "${option[mount]}")
              - name: shared-memory
                mountPath: /dev/shm
            volumes:
            - name: shared-memory
              emptyDir:
                medium: Memory
            - name: data
END
    if [ -n "${option[bucket]}" ]; then
        # Folders of a checkpoint are renamed; other pods must see that at once.
        local options=implicit-dirs,rename-dir-limit=200000,metadata-cache:ttl-secs:0
        cat <<END
              csi:
                driver: gcsfuse.csi.storage.gke.io
                volumeAttributes:
                  bucketName: $(yaml "${option[bucket]}")
                  mountOptions: "$options"
END
    else
        cat <<END
              persistentVolumeClaim:
                claimName: $(yaml "${option[claim]}")
END
    fi
    if [ -n "${option[service_account]}" ]; then
        echo "            serviceAccountName: $(yaml "${option[service_account]}")"
    fi
    echo "            nodeSelector:"
    if [ "$resource" = google.com/tpu ]; then
        cat <<END
              cloud.google.com/gke-tpu-accelerator: $(yaml "${option[accelerator]}")
              cloud.google.com/gke-tpu-topology: $(yaml "${option[topology]}")
END
    else
        cat <<END
              cloud.google.com/gke-accelerator: $(yaml "${option[accelerator]}")
END
    fi
    if [ "${option[spot]}" = true ]; then
        cat <<END
              cloud.google.com/gke-spot: "true"
            tolerations:
            - key: cloud.google.com/gke-spot
              operator: Equal
              value: "true"
              effect: NoSchedule
END
    fi
}

if dry_run; then
    manifest
else
    manifest | kubectl apply -f -
fi
