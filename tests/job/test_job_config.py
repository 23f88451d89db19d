import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.job.config import _hosts, read_job, unquote
from sagemaker_object_detection.job.paths import Paths

CONFIGS = ("hyperparameters", "inputdataconfig", "resourceconfig", "checkpointconfig")


@pytest.fixture
def paths(tmp_path):
    """A job with nothing but a training channel."""
    fill(tmp_path, "training")
    (tmp_path / "input/config").mkdir()
    return Paths(tmp_path)


def fill(root, *channels):
    for channel in channels:
        folder = root / "input/data" / channel
        folder.mkdir(parents=True)
        (folder / "annotations.json").write_text("{}")


def write(paths, name, value):
    text = value if isinstance(value, str) else json.dumps(value)
    getattr(paths, name).write_text(text)


def problems(paths):
    """The problems of the job, with its root shown as ROOT."""
    return [problem.replace(str(paths.root), "ROOT") for problem in read_job(paths).problems]


def test_without_configuration_the_folders_are_the_channels(paths):
    fill(paths.root, "validation", "model", "unknown", ".hidden")
    job = read_job(paths)
    assert (job.training, job.validation, job.model) == tuple(map(paths.channel, ("training", "validation", "model")))
    assert (dict(job.hyperparameters), job.tuning_objective) == ({}, None)
    assert (job.hosts, job.current_host, job.checkpoints) == (("algo-1",), "algo-1", None)


def test_a_real_job_is_read_whole(paths):
    fill(paths.root, "model", "validation")
    write(
        paths, "hyperparameters", {"epochs": "5", "optimizer": '"adam"', "_tuning_objective_metric": '"validation:mAP"'}
    )
    write(
        paths,
        "inputdataconfig",
        {
            "training": {
                "TrainingInputMode": "FastFile",
                "S3DistributionType": "ShardedByS3Key",
                "RecordWrapperType": "None",
            },
            "model": {"ContentType": "application/x-sagemaker-model"},
        },
    )
    write(
        paths, "resourceconfig", {"current_host": "algo-1-x", "hosts": ["algo-1-x"], "network_interface_name": "eth9"}
    )
    write(paths, "checkpointconfig", {"LocalPath": "/opt/ml/checkpoints/deep"})
    job = read_job(paths)
    assert job.hyperparameters == {"epochs": "5", "optimizer": '"adam"'}
    assert job.tuning_objective == "validation:mAP"
    assert (job.training, job.validation, job.model) == (paths.channel("training"), None, paths.channel("model"))
    assert (job.hosts, job.current_host) == (("algo-1-x",), "algo-1-x")
    assert job.checkpoints == paths.root / "checkpoints/deep"


def test_json_numbers_booleans_and_null_count_as_the_text_they_were_written_in(paths):
    write(
        paths,
        "hyperparameters",
        '{"a": 1e-05, "b": 5.0, "c": true, "d": null, "e": 1e999, "f": NaN, "g": 10000000000000000000001}',
    )
    assert read_job(paths).hyperparameters == {
        "a": "1e-05",
        "b": "5.0",
        "c": "true",
        "d": "null",
        "e": "1e999",
        "f": "NaN",
        "g": "10000000000000000000001",
    }


@pytest.mark.parametrize(
    "name",
    [
        "_tuning_objective_metric",
        "sagemaker_region",
        "sagemaker_anything",
        "default_user_module_name",
        "model_dir",
        "model-dir",
    ],
)
def test_names_of_the_platform_are_kept_apart(paths, name):
    write(paths, "hyperparameters", {name: '"x"', "seed": "1"})
    assert read_job(paths).hyperparameters == {"seed": "1"}


SHAPE = 'expected an object such as {"epochs": "5"}'
THERE = f"Correct it there; {SHAPE}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"epochs": "5",\n  }',
            f"is not valid JSON: line 2, column 3: Expecting property name enclosed in double quotes. {THERE}",
        ),
        ("", f"is not valid JSON: line 1, column 1: Expecting value. {THERE}"),
        ('{"a": "b"} x', f"is not valid JSON: line 1, column 12: Extra data. {THERE}"),
        ("[]", f"holds a list []; {SHAPE}"),
        ("null", f"holds null; {SHAPE}"),
        ("true", f"holds the value true; {SHAPE}"),
        ('"text"', f"holds 'text'; {SHAPE}"),
        ("[" * 100_000, f"is nested too deeply. {THERE}"),
        ('{"a": {"b": "c"}}', '\'a\' is an object {"b": "c"}; expected text, as in {"epochs": "5"}'),
        ('{"a": [1]}', '\'a\' is a list ["1"]; expected text, as in {"epochs": "5"}'),
        ('{"a": "1", "a": "2"}', f"gives 'a' twice in one object. Give every key once; {SHAPE}"),
    ],
)
def test_malformed_hyperparameters_are_named_with_their_position(paths, text, problem):
    write(paths, "hyperparameters", text)
    assert problems(paths) == [f"ROOT/input/config/hyperparameters.json: {problem}"]


def test_other_encodings(paths):
    paths.hyperparameters.write_bytes(b'\xef\xbb\xbf{"epochs": "7"}')
    assert read_job(paths).hyperparameters == {"epochs": "7"}
    paths.hyperparameters.write_bytes(b'{"epochs": "\xff"}')
    told = f"is not UTF-8 (byte 13). Save it as UTF-8 text; {SHAPE}"
    assert problems(paths) == [f"ROOT/input/config/hyperparameters.json: {told}"]


def test_a_folder_in_place_of_a_file(paths):
    paths.resourceconfig.mkdir()
    example = '{"current_host": "algo-1", "hosts": ["algo-1"]}'
    assert problems(paths) == [
        f"ROOT/input/config/resourceconfig.json: cannot be read (Is a directory); expected a file such as {example}"
    ]


@pytest.mark.parametrize("name", CONFIGS)
@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.sampled_from(["training", "hosts", "current_host", "LocalPath"]), inner)
        ),
    ).map(json.dumps)
)
def test_no_content_of_a_file_ends_in_anything_but_sentences(tmp_path_factory, name, text):
    root = tmp_path_factory.mktemp("job")
    fill(root, "training")
    paths = Paths(root)
    getattr(paths, name).parent.mkdir()
    getattr(paths, name).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(sentence.isprintable() for sentence in read_job(paths).problems)


def test_every_problem_of_every_file_is_reported_at_once(paths):
    write(paths, "hyperparameters", "[]")
    write(paths, "resourceconfig", {"current_host": "algo-3", "hosts": ["algo-2", "algo-1"]})
    write(paths, "inputdataconfig", {"train": {}})
    write(paths, "checkpointconfig", {"LocalPath": ["x"]})
    assert problems(paths) == [
        f"ROOT/input/config/hyperparameters.json: holds a list []; {SHAPE}",
        'ROOT/input/config/resourceconfig.json: current_host is "algo-3" and hosts is ["algo-2", "algo-1"]; '
        "expected a list of different names with the current one among them, as in "
        '{"current_host": "algo-1", "hosts": ["algo-1"]}',
        "channel 'train': unknown; did you mean training? The channels are training, validation, test, model",
        "channel 'training': missing; expected the images in images/ and their boxes in annotations.json, "
        'as in fit({"training": "s3://bucket/folder/"})',
        'ROOT/input/config/checkpointconfig.json: LocalPath is a list ["x"]; expected the path of a folder outside of '
        'model/, input/ and output/, without .., as in {"LocalPath": "/opt/ml/checkpoints"}',
    ]


RECORDS = (
    "records, such as those of an AugmentedManifestFile, are not read. Pass the S3 prefix of a folder as S3Prefix in "
    "File mode: one with images/ and annotations.json, or one with Ground Truth's output.manifest and its images; "
    "scripts/launch_training.py makes it from the manifest's S3 address, scripts/convert_dataset.py from files here"
)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            {"TrainingInputMode": "Pipe"},
            "TrainingInputMode is 'Pipe'; expected File or FastFile: set input_mode to one of these",
        ),
        (
            {"CompressionType": "Gzip"},
            "CompressionType is 'Gzip'; expected None: upload the files uncompressed and leave compression unset",
        ),
        (
            {"RecordWrapperType": "RecordIO"},
            f"RecordWrapperType is 'RecordIO'; expected None: {RECORDS}",
        ),
        (
            {"ContentType": "application/x-recordio"},
            f"ContentType is 'application/x-recordio'; expected files: {RECORDS}",
        ),
        (
            {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO", "CompressionType": "Gzip"},
            "RecordWrapperType is 'RecordIO'; expected None, TrainingInputMode is 'Pipe'; expected File or FastFile, "
            f"CompressionType is 'Gzip'; expected None: {RECORDS}",
        ),
        (
            {"TrainingInputMode": "Pipe", "CompressionType": "Gzip"},
            "TrainingInputMode is 'Pipe'; expected File or FastFile, CompressionType is 'Gzip'; expected None: set "
            "input_mode to one of these, and upload the files uncompressed and leave compression unset",
        ),
        ("File", 'its entry in inputdataconfig.json is \'File\'; expected {"TrainingInputMode": "File"}'),
        (None, 'its entry in inputdataconfig.json is null; expected {"TrainingInputMode": "File"}'),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_way_out(paths, entry, problem):
    write(paths, "inputdataconfig", {"training": entry})
    assert problems(paths) == [f"channel 'training': {problem}"]


def test_shards_and_several_hosts(paths):
    write(paths, "resourceconfig", {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]})
    write(paths, "inputdataconfig", {"training": {"S3DistributionType": "ShardedByS3Key"}})
    assert problems(paths) == [
        "channel 'training': S3DistributionType is 'ShardedByS3Key'; expected FullyReplicated: "
        "sharding separates images from annotations.json: leave distribution at FullyReplicated",
    ]


@pytest.mark.parametrize(("make", "state"), [(True, "is empty"), (False, "does not exist")])
def test_a_listed_channel_without_content(paths, make, state):
    write(paths, "inputdataconfig", {"training": {}, "validation": {}})
    if make:
        paths.channel("validation").mkdir()
        (paths.channel("validation") / ".hidden").touch()
    assert problems(paths) == [
        f"channel 'validation': ROOT/input/data/validation {state}; expected like training; without it a share of the "
        "training images is held out: check the channel's S3 prefix or mount"
    ]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Training", "did you mean training?"),
        ("valid", "did you mean validation?"),
        ("tests", "did you mean test?"),
        ("eval", "remove it."),
    ],
)
def test_a_channel_that_nobody_reads_is_refused(paths, name, advice):
    write(paths, "inputdataconfig", {"training": {}, name: {}})
    known = "The channels are training, validation, test, model"
    assert problems(paths) == [f"channel {name!r}: unknown; {advice} {known}"]


def test_folders_beside_the_channels_that_nobody_reads_are_told(paths):
    for name in ("training", "val", "pictures", ".hidden", "code"):
        paths.channel(name).mkdir(parents=True, exist_ok=True)
    write(paths, "inputdataconfig", {"training": {}})
    told = [note for note in read_job(paths).notes if "not read" in note]
    assert told == [
        f"{paths.root}/input/data: 'pictures', 'val': not read; the channels are training, validation, test, model"
    ]


def test_the_source_code_channels_of_the_sdk_are_let_be(paths):
    write(paths, "inputdataconfig", {"training": {}, "code": {}, "sm_drivers": {}})
    assert read_job(paths).training == paths.channel("training")


def test_a_script_of_the_jobs_own_is_no_hyperparameter(paths):
    write(paths, "hyperparameters", {"sagemaker_program": '"mine.py"', "epochs": "1"})
    assert (read_job(paths).script, read_job(paths).hyperparameters) == ("mine.py", {"epochs": "1"})
    write(paths, "hyperparameters", {"sagemaker_program": None})
    assert (read_job(paths).script, read_job(paths).hyperparameters) == (None, {})


@pytest.mark.parametrize(
    ("local_path", "expected"),
    [
        ("/opt/ml/checkpoints", "ROOT/checkpoints"),
        ("/opt/ml/x/y", "ROOT/x/y"),
        ("kept", "ROOT/kept"),
        ("/mnt/c", "/mnt/c"),
        ("/opt/mlx", "/opt/mlx"),
        (None, "ROOT/checkpoints"),
        ("", "ROOT/checkpoints"),
    ],
)
def test_the_checkpoint_path_follows_a_relocated_root(paths, local_path, expected):
    write(paths, "checkpointconfig", {"LocalPath": local_path})
    assert read_job(paths).checkpoints == Path(expected.replace("ROOT", str(paths.root)))


def test_without_its_configuration_the_checkpoint_folder_counts_where_it_can_be_written(paths, monkeypatch):
    paths.checkpoints.mkdir()
    assert read_job(paths).checkpoints == paths.checkpoints
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert read_job(paths).checkpoints is None
    (paths.checkpoints / "checkpoint-000001.npz").touch()
    assert read_job(paths).checkpoints is None  # nor can it be read
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)
    assert read_job(paths).checkpoints == paths.checkpoints  # so that it is refused, and not left out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" adam ", "adam"),
        ('"adam"', "adam"),
        (' " adam " ', "adam"),
        ('"\\"adam\\""', '"adam"'),
        ('"adam', '"adam'),
        ('"a" b', '"a" b'),
        ("", ""),
        ('"', '"'),
        ('""', ""),
        ("5", "5"),
        ("'x'", "'x'"),
    ],
)
def test_one_layer_of_quoting_is_removed(text, expected):
    assert unquote(text) == expected


def test_hosts_come_in_the_one_order_all_of_them_agree_on(paths):
    write(paths, "resourceconfig", {"current_host": "algo-2", "hosts": ["algo-2", "algo-3", "algo-1"]})
    assert _hosts(paths, []) == (("algo-1", "algo-2", "algo-3"), "algo-2")


def test_a_channel_that_is_a_file_is_not_overlooked(paths):
    paths.channel("model").write_bytes(b"an archive")
    (problem,) = problems(paths)
    assert problem.startswith(
        "channel 'model': ROOT/input/data/model cannot be listed (Not a directory); expected the "
    )


def test_the_trials_of_a_tuning_job_have_a_checkpoint_folder_each(paths, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "tuned-007-abc")
    write(paths, "checkpointconfig", {"LocalPath": "/opt/ml/checkpoints"})
    assert read_job(paths).checkpoints == paths.root / "checkpoints"
    write(paths, "hyperparameters", {"_tuning_objective_metric": "validation:mAP"})
    assert read_job(paths).checkpoints == paths.root / "checkpoints/tuned-007-abc"
    monkeypatch.setenv("TRAINING_JOB_NAME", "..")
    assert read_job(paths).checkpoints == paths.root / "checkpoints"


@pytest.mark.parametrize("local_path", ["/opt/ml/model", "/opt/ml/input/data/training", "/opt/ml/../kept", "output/x"])
def test_checkpoints_are_not_kept_among_the_jobs_other_files(paths, local_path):
    write(paths, "checkpointconfig", {"LocalPath": local_path})
    assert problems(paths) == [
        f"ROOT/input/config/checkpointconfig.json: LocalPath is {local_path!r}; expected the path of a folder outside "
        'of model/, input/ and output/, without .., as in {"LocalPath": "/opt/ml/checkpoints"}'
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(paths, name):
    file = paths.root / f"input/config/{name}.json"
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    assert f"input/config/{name}.json: cannot be read (Is a pipe); expected a file" in problems(paths)[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_link_without_end_in_place_of_a_file_is_the_users_to_mend(paths, name):
    file = paths.root / f"input/config/{name}.json"
    file.unlink(missing_ok=True)
    file.symlink_to(file)
    assert (
        f"input/config/{name}.json: cannot be read (Too many levels of symbolic links); expected" in problems(paths)[0]
    )
