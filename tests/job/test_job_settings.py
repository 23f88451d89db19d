"""Nothing that a request carries is silently without effect."""

import json
import re

import pytest
from conftest import write_job
from markdown_pages import ROOT

from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths

PAGE = ROOT / "src/sagemaker_object_detection/job/README.md"


def notes(root, hyperparameters=None, **files):
    write_job(root, hyperparameters or {})
    for name, value in files.items():
        (root / f"input/config/{name}.json").write_text(json.dumps(value))
    return list(read_job(Paths(root)).notes)


DISTRIBUTION = (
    "no effect; all GPUs of all hosts train together anyway, through TensorFlow and NCCL: remove distribution"
)


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({"sagemaker_mpi_enabled": "true"}, f"sagemaker_mpi_enabled: {DISTRIBUTION}"),
        (
            {
                "sagemaker_mpi_enabled": "true",
                "sagemaker_mpi_num_of_processes_per_host": "4",
                "sagemaker_mpi_custom_mpi_options": '"-x A=1"',
            },
            "sagemaker_mpi_enabled, sagemaker_mpi_num_of_processes_per_host, sagemaker_mpi_custom_mpi_options: "
            + DISTRIBUTION,
        ),
        (
            {"sagemaker_distributed_dataparallel_enabled": "true", "sagemaker_instance_type": '"ml.p4d.24xlarge"'},
            f"sagemaker_distributed_dataparallel_enabled, sagemaker_instance_type: {DISTRIBUTION}",
        ),
        ({"sagemaker_parameter_server_enabled": "true"}, f"sagemaker_parameter_server_enabled: {DISTRIBUTION}"),
        ({"mp_parameters": '{"partitions": 2}'}, f"mp_parameters: {DISTRIBUTION}"),
        (
            {"sagemaker_training_compiler_enabled": "true"},
            "sagemaker_training_compiler_enabled: no effect; the hyperparameter xla decides whether XLA compiles the "
            "step",
        ),
        (
            {"sagemaker_enable_cloudwatch_metrics": "true"},
            "sagemaker_enable_cloudwatch_metrics: no effect; SageMaker makes metrics of the log, as metric_definitions "
            "say",
        ),
        (
            {"sagemaker_container_log_level": "40"},
            "sagemaker_container_log_level: no effect; the log is what metrics are read from, and never shorter",
        ),
        (
            {"sagemaker_s3_output": '"s3://a/b"', "sagemaker_\n": "1"},
            "sagemaker_s3_output, 'sagemaker_\\n': no effect; it is a setting of sagemaker-training, which runs "
            "scripts of a job's own",
        ),
    ],
)
def test_a_setting_of_sagemakers_toolkits_is_named_once(tmp_path, values, note):
    assert notes(tmp_path, values) == [note]


def test_what_sdks_write_uninvited_is_not_worth_a_word(tmp_path):
    values = {
        "sagemaker_region": '"us-east-1"',
        "sagemaker_job_name": '"job"',
        "sagemaker_submit_directory": "null",
        "sagemaker_container_log_level": "20",
        "sagemaker_enable_cloudwatch_metrics": "false",
        "sagemaker_mpi_enabled": "false",
        "model_dir": '"s3://a/b"',
        "_tuning_objective_metric": '"validation:mAP"',
    }
    assert notes(tmp_path, values) == []


def test_debugger_gets_no_tensors(tmp_path):
    (note,) = notes(tmp_path, debughookconfig={"S3OutputPath": "s3://a/b", "CollectionConfigurations": []})
    assert note.startswith("DebugHookConfig: no effect; this image has no smdebug")
    assert notes(tmp_path, debughookconfig={}) == []


def test_the_profiler_of_the_machine_works_and_that_of_the_framework_does_not(tmp_path):
    assert notes(tmp_path, profilerconfig={"S3OutputPath": "s3://a/b", "ProfilingIntervalInMilliseconds": 500}) == []
    assert notes(tmp_path, profilerconfig={"DisableProfiler": True, "ProfilingParameters": {"a": "b"}}) == []
    (note,) = notes(tmp_path, profilerconfig={"ProfilingParameters": {"DataloaderProfilingConfig": "{}"}})
    assert note.startswith("ProfilerConfig: no effect; ProfilingParameters ask for smdebug")


def test_a_key_of_a_channel_that_nobody_reads(tmp_path):
    channels = {"training": {"TrainingInputMode": "File", "ShuffleConfig": {"Seed": 1}, "AttributeNames": ["a"]}}
    assert notes(tmp_path, inputdataconfig=channels) == [
        "channel 'training': ShuffleConfig, AttributeNames: no effect in inputdataconfig.json"
    ]


@pytest.mark.parametrize(
    ("local_path", "folder"), [("/opt/ml/output/tb", "output/tb"), ("/logs", "/logs"), (None, "output/tensorboard")]
)
def test_tensorboard_writes_where_the_request_says(tmp_path, local_path, folder):
    write_job(tmp_path, {})
    (tmp_path / "input/config/tensorboardoutputconfig.json").write_text(json.dumps({"LocalPath": local_path}))
    assert read_job(Paths(tmp_path)).tensorboard == tmp_path / folder


@pytest.mark.parametrize("local_path", ["/opt/ml/model/logs", "/opt/ml/input", "/opt/ml/checkpoints", "a/../b", ["x"]])
def test_tensorboards_files_stay_out_of_the_model_and_the_checkpoints(tmp_path, local_path):
    write_job(tmp_path, {})
    (tmp_path / "input/config/tensorboardoutputconfig.json").write_text(json.dumps({"LocalPath": local_path}))
    (problem,) = (found for found in read_job(Paths(tmp_path)).problems if "tensorboard" in found)
    shown = 'a list ["x"]' if isinstance(local_path, list) else repr(local_path)
    assert problem == (
        f"{tmp_path}/input/config/tensorboardoutputconfig.json: LocalPath is {shown}; expected the path of a folder "
        'outside of model/, input/ and checkpoints/, without .., as in {"LocalPath": "/opt/ml/output/tensorboard"}'
    )


def test_hosts_of_different_types_are_refused_at_once(tmp_path):
    write_job(tmp_path, {})
    groups = [
        {"instance_group_name": "gpus", "instance_type": "ml.g5.xlarge", "hosts": ["algo-1"]},
        {"instance_group_name": "cpus", "instance_type": "ml.c5.xlarge", "hosts": ["algo-2"]},
    ]
    config = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"], "instance_groups": groups}
    file = tmp_path / "input/config/resourceconfig.json"
    file.write_text(json.dumps(config))
    assert (
        f"{file}: instance_groups are of different types ('gpus': 'ml.g5.xlarge', 'cpus': 'ml.c5.xlarge'); expected "
        "one type, because all hosts train the same step together: give instance_type and instance_count in place of "
        "instance_groups"
    ) in read_job(Paths(tmp_path)).problems
    groups[1]["instance_type"] = "ml.g5.xlarge"
    file.write_text(json.dumps(config))
    assert not [problem for problem in read_job(Paths(tmp_path)).problems if "instance_groups" in problem]


def members(shape, depth):
    """The names of an API's structure and of those inside it, as the page writes them."""
    for name, member in shape.members.items():
        while member.type_name == "list":
            member = member.member
        yield name
        if depth > 1 and member.type_name == "structure":
            yield from (f"{name}.{inner}" for inner in members(member, depth - 1))


def test_the_page_has_every_setting_of_the_api():
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    request = model.operation_model("CreateTrainingJob").input_shape
    named = set(re.findall(r"`([A-Z][A-Za-z0-9.]+)`", PAGE.read_text(encoding="utf-8")))
    deep = ("AlgorithmSpecification", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "CheckpointConfig")
    wanted = {name for name in members(request, 2) if "." not in name or name.startswith(deep)}
    assert sorted(wanted - named) == []
    assert len(wanted) > 30
