"""launch/gke.sh: manifests against Kubernetes' own schemas.

JobSet is not one of Kubernetes' own kinds: the Job inside goes through their
validator, the fields around it through a schema written here from JobSet's
documentation (v1alpha2), which is strict about names.
"""

from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

TRAIN = ("--", "--config", "configs/wav2lip.py", "--workdir", "/data/runs/a")
BASE = ("--name", "wav2lip", "--image", "example.com/lipsync:1", "--dry_run")
TPU = (*BASE, "--accelerator", "tpu-v6e-slice", "--topology", "4x4", "--bucket=talk")
GPU = (
    *(*BASE, "--accelerator", "nvidia-h100-80gb", "--nodes", "2"),
    *("--gpus_per_node", "8", "--claim", "shared"),
)


def _object(required: str = "", **properties: dict) -> dict:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _list(items: dict) -> dict:
    return {"type": "array", "items": items, "minItems": 1}


TEXT = {"type": "string"}
LABEL = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
COUNT = {"type": "integer", "minimum": 0}
JOBSET = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=_object(
        "name",
        name=LABEL,
        namespace=LABEL,
        annotations={"type": "object", "additionalProperties": TEXT},
    ),
    spec=_object(
        "replicatedJobs",
        network=_object(enableDNSHostnames={"type": "boolean"}, subdomain=LABEL),
        failurePolicy=_object(
            maxRestarts=COUNT,
            rules=_list(
                _object(
                    "name action",
                    name={
                        "type": "string",
                        "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*\\w)?$",
                    },
                    action={
                        "enum": [
                            "FailJobSet",
                            "RestartJobSet",
                            "RestartJobSetAndIgnoreMaxRestarts",
                        ]
                    },
                    onJobFailureReasons=_list(
                        {
                            "enum": [
                                "BackoffLimitExceeded",
                                "DeadlineExceeded",
                                "FailedIndexes",
                                "MaxFailedIndexesExceeded",
                                "PodFailurePolicy",
                            ]
                        }
                    ),
                    targetReplicatedJobs=_list(LABEL),
                )
            ),
        ),
        replicatedJobs=_list(
            _object(
                "name template",
                name=LABEL,
                replicas=COUNT,
                template=_object("spec", metadata={}, spec={"type": "object"}),
            )
        ),
    ),
)


def validated(text: str) -> tuple[dict, dict, dict]:
    """The JobSet, its Job's specification and its pod's, all checked."""
    jobset = yaml.safe_load(text)
    jsonschema.validate(jobset, JOBSET)
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{jobset['metadata']['name']}-{replicated['name']}-0"},
        **replicated["template"],
    }
    for version in ("1.31", "1.37"):
        kubernetes_validate.validate(job, version, strict=True)
    return jobset, job["spec"], job["spec"]["template"]["spec"]


def test_the_validator_finds_mistakes(launch) -> None:
    text = launch("gke.sh", *TPU, *TRAIN).stdout
    with pytest.raises(kubernetes_validate.ValidationError):
        validated(text.replace("restartPolicy:", "restartpolicy:"))
    with pytest.raises(jsonschema.ValidationError):
        validated(text.replace("maxRestarts:", "maxrestarts:"))


def test_tpu_slice(launch) -> None:
    jobset, job, pod = validated(launch("gke.sh", *TPU, *TRAIN).stdout)
    one_slice = "alpha.jobset.sigs.k8s.io/exclusive-topology"
    assert jobset["metadata"] == {
        "name": "wav2lip",
        "annotations": {one_slice: "cloud.google.com/gke-nodepool"},
    }
    assert job["parallelism"] == job["completions"] == 4  # 16 chips, 4 a node
    (container,) = pod["containers"]
    assert container["command"] == ["lipsync", "train"]
    assert container["args"] == [*TRAIN[1:], "--distributed"]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    assert container["env"] == [{"name": "JAX_PLATFORMS", "value": "tpu,cpu"}]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    assert job["template"]["metadata"] == {
        "annotations": {"gke-gcsfuse/volumes": "true"}
    }
    storage = pod["volumes"][1]
    assert storage["csi"]["volumeAttributes"]["bucketName"] == "talk"
    assert container["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}


def test_gpu_nodes(launch) -> None:
    jobset, job, pod = validated(launch("gke.sh", *GPU, *TRAIN).stdout)
    assert "annotations" not in jobset["metadata"]
    assert job["completionMode"] == "Indexed"  # gives JOB_COMPLETION_INDEX
    assert job["parallelism"] == job["completions"] == 2
    (container,) = pod["containers"]
    assert container["args"] == [
        *TRAIN[1:],
        *("--coordinator", "wav2lip-worker-0-0.wav2lip:8476"),
        *("--num_processes", "2", "--process_id", "$(JOB_COMPLETION_INDEX)"),
    ]
    assert container["ports"] == [{"containerPort": 8476}]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert container["env"] == [{"name": "JAX_PLATFORMS", "value": "cuda,cpu"}]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-h100-80gb"
    }
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "shared"}
    assert "metadata" not in job["template"]


def test_a_stopped_run_starts_again(launch) -> None:
    jobset, job, pod = validated(launch("gke.sh", *GPU, "--grace=60", *TRAIN).stdout)
    assert jobset["spec"]["failurePolicy"]["rules"] == [
        {
            "name": "stopped",
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": ["PodFailurePolicy"],
        }
    ]
    assert pod["terminationGracePeriodSeconds"] == 60
    evicted, saved = job["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [
        {"type": "DisruptionTarget", "status": "True"}
    ]
    assert saved["onExitCodes"]["values"] == [143]
    assert saved["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert job["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"


def test_every_option(launch) -> None:
    options = (
        *("--spot", "--namespace", "team", "--service_account", "trainer"),
        *("--mount", "/my data", "--max_restarts", "7", "--chips_per_node", "8"),
    )
    jobset, job, pod = validated(launch("gke.sh", *TPU, *options, *TRAIN).stdout)
    assert jobset["metadata"]["namespace"] == "team"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert job["parallelism"] == 2
    assert pod["serviceAccountName"] == "trainer"
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/my data"
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert [t["key"] for t in pod["tolerations"]] == ["cloud.google.com/gke-spot"]


def test_awkward_values_arrive_unchanged(launch) -> None:
    values = (
        "--config=a b.py",
        "--workdir",
        '/data/"x" \\y: #z\n- {w}',
        "--config.k=1=2",
    )
    _, _, pod = validated(launch("gke.sh", *TPU, "--", *values).stdout)
    assert pod["containers"][0]["args"] == [*values, "--distributed"]
    # Kubernetes reads $(NAME) as a variable and $$ as one $.
    dollars = ("--config=$(HOME).py", "--workdir=$x$$")
    _, _, pod = validated(launch("gke.sh", *TPU, "--", *dollars).stdout)
    assert pod["containers"][0]["args"][:2] == [
        "--config=$$(HOME).py",
        "--workdir=$$x$$$$",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "My_Run"], "--name 'My_Run' is no JobSet name: --name NAME of the"),
        (["--topology", "16"], "--topology: expected AxB or AxBxC, found '16'"),
        (
            ["--topology", "2x3"],
            "--chips_per_node 4 does not divide the 6 chips of --topology 2x3",
        ),
        (["--topology="], "missing --topology AxB[xC]"),
        (["--bucket="], "missing --bucket NAME"),
        (["--claim", "c"], "--bucket and --claim exclude each other"),
        (["--topology=", "--nodes", "2"], "missing --gpus_per_node N"),
    ],
)
def test_wrong_values(arguments: list[str], message: str, launch) -> None:
    assert message in launch("gke.sh", *TPU, *arguments, *TRAIN, code=2).stderr


def test_applies_what_the_dry_run_prints(launch, programs, tmp_path: Path) -> None:
    programs(kubectl=f'#!/bin/sh\necho "$@"\ncat > {tmp_path}/manifest\n')
    printed = launch("gke.sh", *TPU, *TRAIN).stdout
    real = [word for word in TPU if word != "--dry_run"]
    assert launch("gke.sh", *real, *TRAIN).stdout == "apply -f -\n"
    assert (tmp_path / "manifest").read_text() == printed
