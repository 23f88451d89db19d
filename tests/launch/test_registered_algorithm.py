"""A registered algorithm knows its specification alone: what the programs send for one is held against it."""

import json
import re

import botocore.session
import pytest
from botocore.validate import ParamValidator
from launch_programs import IMAGE, REQUIRED, no_connection
from registered_algorithm import faults_of, refusals

from sagemaker_object_detection.describe import INSTANCE_TYPES, describe_json
from sagemaker_object_detection.hyperparameters.kinds import Choice, Flag, Integer, ModelName, Number
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.hyperparameters.table import ROWS
from sagemaker_object_detection.job.metrics import METRICS
from sagemaker_object_detection.launch import api
from sagemaker_object_detection.launch.algorithm import ALGORITHM
from sagemaker_object_detection.launch.training import TRAINING
from sagemaker_object_detection.launch.tuning import TUNING

SPECIFICATION = describe_json(IMAGE)["TrainingSpecification"]
JOB = ["--algorithm", "object-detection", *REQUIRED[2:]]
TUNABLE = [row for row in ROWS if row.tunable or row.built_in]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    no_connection(monkeypatch)


def request_of(program, capsys, *arguments):
    assert program.main([*arguments, "--dry-run"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(program, capsys, *arguments):
    assert program.main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    return [re.sub(r"^\d+\. |^UserError: ", "", line) for line in (lines[1:] or lines)]


WHOLE = (("1", "1"), (" 1 ", "1"), ("+1", "1"), ('"1"', "1"), ("8.0", "8"), ("8.", "8"), ("1e3", "1000"))
FRACTIONS = (("0", "0.0"), ("-0", "0.0"), (".5", "0.5"), ("5E-1", "0.5"), ("1e-05", "1e-05"), (' "0.25" ', "0.25"))


def spellings(row):
    """Texts that the container reads as a value of this row, each with what is to be sent for it; None: nothing."""
    kind = row.kind
    yield from (("None", None), ("null", None))
    if isinstance(kind, Number):
        yield from WHOLE if isinstance(kind, Integer) else FRACTIONS
        yield from (("Auto", None), ("AUTO", None)) if kind.auto else ()
    elif isinstance(kind, Choice | Flag):
        for word in kind.options:
            yield from ((word, word), (word.upper(), word), (word.lower(), word), (f'"{word}"', word))
    elif isinstance(kind, ModelName):
        yield from ((name, kind.parse(name)) for name in kind.options)
    else:
        yield from (("AUTO", "auto"), ("none", "none"), ("s3://bucket/Model.tar.gz", "s3://bucket/Model.tar.gz"))


NAMES = [(row, name) for row in ROWS for name in (row.name, *row.aliases)]


def test_create_algorithm_is_as_the_api_describes_it(capsys):
    request = request_of(ALGORITHM, capsys, "--image", IMAGE)
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateAlgorithm").input_shape
    assert not ParamValidator().validate(request, shape).has_errors()
    assert api.problems(request, "CreateAlgorithm", {}) == []
    assert faults_of(request["TrainingSpecification"]) == []


def test_the_defaults_that_sagemaker_fills_in_change_nothing():
    rows = SPECIFICATION["SupportedHyperParameters"]
    defaults = {row["Name"]: row["DefaultValue"] for row in rows if "DefaultValue" in row}
    assert read(defaults) == read({})


def test_a_description_in_several_lines_is_refused(capsys):
    assert refused(ALGORITHM, capsys, "--image", IMAGE, "--description", "one\ntwo") == [
        r"--description: got 'one\ntwo'; expected at most 1024 characters in one line"
    ]


@pytest.mark.parametrize(("row", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_value_is_sent_as_the_table_writes_it_however_it_was_typed(capsys, row, name):
    validation = ["--validation", "s3://bucket/data/"]  # which some values need
    for text, sent in spellings(row):
        request = request_of(TRAINING, capsys, *JOB, *validation, "--hyperparameters", f"{name}={text}")
        assert request["HyperParameters"] == ({} if sent is None else {row.name: sent})
        assert refusals(SPECIFICATION, request) == []


@pytest.mark.parametrize("job", [JOB, REQUIRED], ids=["algorithm", "image"])
def test_a_tuning_job_and_a_job_with_an_image_are_sent_the_same(capsys, job):
    typed = [
        "train_only_top_layer=FALSE",
        "eps=1E-6",
        "batch_size=8.0",
        "passes_per_epoch=auto",
        "xla=AUTO",
        "rho=None",
    ]
    sent = {"train_only_on_top_layer": "False", "epsilon": "1e-06", "batch_size": "8", "xla": "Auto"}
    assert request_of(TRAINING, capsys, *job, "--hyperparameters", *typed)["HyperParameters"] == sent
    request = request_of(TUNING, capsys, *job, "--tune", "learning_rate", "--hyperparameters", *typed)
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == sent
    if job is JOB:
        assert refusals(SPECIFICATION, request) == []


@pytest.mark.parametrize("row", TUNABLE, ids=lambda row: row.name)
def test_every_way_to_tune_is_one_that_the_algorithm_takes(capsys, row):
    if isinstance(row.kind, Integer):
        ranges = {"1.0:16.0": ("1", "16")}
    elif isinstance(row.kind, Number):
        ranges = {".25:5E-1": ("0.25", "0.5"), "0:1:linear": ("0.0", "1.0")}
    else:
        words = row.kind.options
        ranges = {",".join(word.upper() for word in words): words}
    names = [f"{name}={given}" for name in (row.name, *row.aliases) for given in ranges]
    for text in [*names, row.name, *([f"{row.name}=built-in"] if row.built_in else [])]:
        request = request_of(TUNING, capsys, *JOB, "--tune", text)
        assert refusals(SPECIFICATION, request) == []
        ((found,),) = [rows for rows in request["HyperParameterTuningJobConfig"]["ParameterRanges"].values() if rows]
        assert found["Name"] == row.name
        if (given := text.partition("=")[2]) in ranges:
            assert tuple(found.get("Values", (found.get("MinValue"), found.get("MaxValue")))) == ranges[given]


def test_numbers_are_given_to_an_algorithm_as_a_range_alone(capsys):
    assert refused(TUNING, capsys, *JOB, "--tune", "batch_size=4,8", "--strategy", "Grid") == [
        "--tune: batch_size is given values, and a registered algorithm takes numbers as a range alone; expected "
        "batch_size=LOW:HIGH, or --image in place of --algorithm"
    ]
    request = request_of(TUNING, capsys, *REQUIRED, "--tune", "batch_size=4.0,8", "--strategy", "Grid")
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["CategoricalParameterRanges"] == [{"Name": "batch_size", "Values": ["4", "8"]}]


def test_no_word_is_the_end_of_a_range(capsys):
    assert refused(TUNING, capsys, *REQUIRED, "--tune", "passes_per_epoch=Auto:5") == [
        "--tune 'passes_per_epoch=Auto:5': got 'Auto'; expected a whole number from 1 to 2147483647 at both ends, such "
        "as passes_per_epoch=5:20"
    ]


@pytest.mark.parametrize("metric", [metric.name for metric in METRICS if metric.line > 0])
def test_every_objective_is_one_of_the_algorithm(capsys, metric):
    request = request_of(TUNING, capsys, *JOB, "--tune", "learning_rate", "--objective", metric)
    assert refusals(SPECIFICATION, request) == []


def test_every_argument_of_a_job_at_once(capsys):
    arguments = [
        *("--validation", "s3://bucket/data/", "--model", "s3://bucket/model.tar.gz", "--instance-count", "2"),
        *("--spot", "--checkpoints", "s3://bucket/checkpoints/", "--network-isolation", "--encrypt-traffic"),
        *("--environment", "LOG_LEVEL=10", "--retry", "3", "--tags", "team=vision"),
    ]
    for program, tune in ((TRAINING, []), (TUNING, ["--tune", "learning_rate"])):
        assert refusals(SPECIFICATION, request_of(program, capsys, *JOB, *arguments, *tune)) == []


@pytest.mark.parametrize(("program", "tune"), [(TRAINING, []), (TUNING, ["--tune", "learning_rate"])])
def test_what_the_algorithm_would_refuse_is_told_before_any_call(capsys, program, tune):
    arguments = ["--input-mode", "fastfile", "--instance-type", "ml.t3.medium"]
    assert refused(program, capsys, *JOB, *tune, *arguments) == [
        "--input-mode: got FastFile with --algorithm; expected File, the one that an algorithm can be registered with: "
        "leave it out, or give --image",
        "--instance-type: got ml.t3.medium with --algorithm; expected a type that it is registered with, which "
        "`register_algorithm.py --dry-run` lists: give one of those, or --image",
    ]
    request = request_of(program, capsys, *REQUIRED, *tune, *arguments)
    definition = request.get("TrainingJobDefinition", request)
    assert definition["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"


def test_every_registered_type_is_one_that_the_api_knows_and_a_job_may_have(capsys):
    for instance_type in INSTANCE_TYPES:
        request = request_of(TRAINING, capsys, *JOB, "--instance-type", instance_type)
        assert refusals(SPECIFICATION, request) == []
