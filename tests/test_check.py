"""The `check` verb: resolved values, every problem of every kind, and the exit code."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import run_verb, write_job

from sagemaker_object_detection.catalogue import DEFAULT_MODEL, find
from sagemaker_object_detection.check import Check, check
from sagemaker_object_detection.job.paths import Paths

GOOD = {"pretrained_weights": "none", "batch_size": "8", "early_stopping": "true", "eps": "1e-5"}


@pytest.fixture
def root(sample_root, tmp_path):
    shutil.copytree(sample_root / "input/data", tmp_path / "input/data")
    write_job(tmp_path, GOOD)
    return tmp_path


def edit_annotations(root, change):
    path = root / "input/data/training/annotations.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_root_whose_name_is_too_long_is_a_problem_and_no_fault():
    problems = check(Paths(Path("/" + "a" * 300))).problems
    assert any("hyperparameters.json: cannot be read (File name too long)" in problem for problem in problems), problems


def test_of_many_problems_the_text_lists_the_first():
    lines = Check({}, (), (), tuple(f"problem {number}" for number in range(50_000))).as_text().splitlines()
    assert lines[199:] == ["200. problem 199", "... and 49800 more, which --json has.", "50000 problems."]


def test_a_good_job_resolves_every_value_and_writes_nothing(root):
    done = run_verb("check", "--root", root, "--json")
    assert done.code == 0
    result = json.loads(done.output)
    assert result["problems"] == []
    values = result["hyperparameters"]
    assert (values["batch_size"], values["early_stopping"], values["epsilon"], values["epochs"]) == (8, True, 1e-5, 5)
    assert (values["model_id"], values["freeze_batch_norm"]) == ("ssd_mobilenet_v2_fpnlite_320x320", "Auto")
    assert sorted(path.name for path in root.iterdir()) == ["input"]


def test_text_output_lists_values_and_counts_problems(root):
    write_job(root, {**GOOD, "epochs": "0", "objektive": "mAP"})
    done = run_verb("check", "--root", root)
    assert done.code == 2
    assert done.output.splitlines() == [
        "1. epochs: got '0'; expected a whole number from 1 to 2147483647 (default the base model's: 5 for the "
        "smaller, 1 for the larger)",
        "2. objektive: unknown; did you mean objective?",
        "2 problems.",
    ]


def test_hyperparameters_and_data_are_told_together(root):
    write_job(root, {**GOOD, "momentum": "fast", "invalid_boxes": "drop"})
    edit_annotations(root, lambda document: document["annotations"][0].update(category_id=99))
    result = check(Paths(root))
    assert result.problems[0] == "momentum: got 'fast'; expected a number from 0.0 to 1.0 (default 0.9)"
    assert "category_id 99" in result.problems[1]
    assert len(result.problems) == 2
    assert result.hyperparameters == {}


def test_a_wrong_job_file_and_wrong_values_are_told_together(root):
    shutil.rmtree(root / "input/data/training")
    write_job(root, {**GOOD, "momentum": "fast"})
    channel, value = check(Paths(root)).problems
    assert channel.startswith("channel 'training': missing")
    assert value.startswith("momentum: got 'fast'")


def test_what_the_log_says_of_the_data_is_in_the_json(root, monkeypatch):
    for name in ("SAGEMAKER_OD_WEIGHTS_DIR", "SAGEMAKER_OD_CACHE_DIR"):
        monkeypatch.setenv(name, str(root / "nothing"))
    edit_annotations(root, lambda document: document["annotations"].append(document["annotations"][0]))
    told = json.loads(check(Paths(root)).as_json())["data"]
    assert any("boxes are there already, with the same class" in sentence for sentence in told)


def test_every_problem_of_the_data_is_listed_however_many(root):
    def move_out(document):
        for annotation in document["annotations"]:
            annotation["bbox"][0] = -999
        document["annotations"] *= 3

    edit_annotations(root, move_out)
    count = len(json.loads((root / "input/data/training/annotations.json").read_text())["annotations"])
    assert count > 20
    assert len(check(Paths(root)).problems) == count


@pytest.mark.parametrize("name", ["early_stopping", "objective"])
def test_what_needs_validation_says_so(root, name):
    shutil.rmtree(root / "input/data/validation")
    values = {"pretrained_weights": "none", "validation_split_ratio": "0"}
    write_job(root, {**values, name: {"early_stopping": "True", "objective": "mAP"}[name]})
    assert check(Paths(root)).problems == (
        f"{name}: needs a validation set, and there is none: validation_split_ratio is 0 and the job has no validation "
        "channel; add the channel or raise validation_split_ratio",
    )
    write_job(root, values)
    assert check(Paths(root)).problems == ()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "https://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_320x320/1"),
        (
            {"model_id": "tensorflow-od1-ssd-efficientdet-d1-640x640-coco17-tpu-8"},
            "https://tfhub.dev/tensorflow/efficientdet/d1/1",
        ),
        ({"pretrained_weights": "s3://bucket/model.tar.gz"}, "s3://bucket/model.tar.gz"),
    ],
)
def test_weights_on_another_machine_are_left_to_the_job(root, monkeypatch, given, address):
    for name in ("SAGEMAKER_OD_WEIGHTS_DIR", "SAGEMAKER_OD_CACHE_DIR"):
        monkeypatch.setenv(name, str(root / "nothing"))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    write_job(root, given)
    result = check(Paths(root))
    origin = 'pretrained_weights="s3://bucket/model.tar.gz"'
    if "pretrained_weights" not in given:
        origin = f'pretrained_weights="auto" ({address})'
    places = address
    if "pretrained_weights" not in given:
        base = find(given.get("model_id", DEFAULT_MODEL.name))
        places += (
            f", or if that fails from {base.weights.archive} or JumpStart's {base.model_id} in "
            "s3://jumpstart-cache-prod-eu-west-1,"
        )
    note = f"{origin}: the weights will be fetched from {places} when the job runs; they were not checked here"
    assert (result.notes, result.problems) == ((note,), ())
    assert result.as_text().splitlines()[-2:] == [f"note: {note}", "0 problems."]
    assert json.loads(result.as_json())["notes"] == [note]


def test_weights_in_the_image_are_checked(root, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_OD_WEIGHTS_DIR", str(root / "baked"))
    (root / "baked/ssd_mobilenet_v2_fpnlite_320x320").mkdir(parents=True)
    write_job(root, {})
    result = check(Paths(root))
    (problem,) = result.problems
    folder = root / "baked/ssd_mobilenet_v2_fpnlite_320x320"
    assert problem.startswith(f'pretrained_weights="auto" ({folder}): found nothing, which are no weights; ')
    assert result.notes == ()


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"pretrained_weights": "none"}, "320 x 320"),
        ({"pretrained_weights": "none", "model_id": "ssd_efficientdet_d2_768x768"}, "768 x 768"),
        ({"model_id": "ssd_mobilenet_v2_fpnlite_640x640"}, "640 x 640"),
        ({}, "320 x 320"),
        ({"pretrained_weights": "s3://bucket/model.tar.gz", "model_id": "ssd_mobilenet_v1_fpn_640x640"}, "640 x 640"),
    ],
)
def test_anchors_are_held_against_the_boxes_where_the_base_model_is_known(root, monkeypatch, given, size):
    for name in ("SAGEMAKER_OD_WEIGHTS_DIR", "SAGEMAKER_OD_CACHE_DIR"):
        monkeypatch.setenv(name, str(root / "nothing"))
    write_job(root, given)
    result = check(Paths(root))
    assert result.problems == ()
    assert result.anchors[0].startswith("Anchors: ")
    assert f" overlaps an anchor by half at {size} pixels." in result.anchors[0]
    assert json.loads(result.as_json())["anchors"] == list(result.anchors)
    assert f"note: {result.anchors[0]}" in result.as_text().splitlines()


@pytest.mark.parametrize("given", [{"pretrained_weights": "s3://bucket/model.tar.gz"}, {"momentum": "fast"}])
def test_anchors_of_a_model_that_is_not_known_or_named_wrongly_are_not_spoken_of(root, given):
    write_job(root, given)
    assert check(Paths(root)).anchors == ()


@pytest.mark.parametrize("address", ["s3://bucket", "gs://bucket/model", "https://tfhub.dev"])
def test_an_address_that_cannot_be_is_a_problem(root, address):
    write_job(root, {"pretrained_weights": address})
    (problem,) = check(Paths(root)).problems
    assert problem.startswith(f'pretrained_weights="{address}": ')


def test_a_value_without_effect_is_a_note(root):
    write_job(root, {**GOOD, "momentum": "0.5"})
    assert check(Paths(root)).notes == (
        "momentum: has no effect, because optimizer is adam; it is used when optimizer is sgd or nesterov",
    )


def test_mistakes_of_different_kinds_are_told_together(root):
    shutil.rmtree(root / "input/data/validation")
    write_job(
        root,
        {
            "learning_rate": "fast",
            "pretrained_weights": str(root / "nothing"),
            "validation_split_ratio": "0",
            "early_stopping": "True",
        },
    )
    value, cross_check, weights = check(Paths(root)).problems
    assert value.startswith("learning_rate: got 'fast'")
    assert cross_check.startswith("early_stopping: needs a validation set")
    assert weights.startswith(f'pretrained_weights="{root}/nothing": there is no such folder or file')


def test_a_tuning_job_without_validation_is_refused(root):
    shutil.rmtree(root / "input/data/validation")
    write_job(
        root,
        {
            "pretrained_weights": "none",
            "validation_split_ratio": "0",
            "_tuning_objective_metric": "validation:mAP",
        },
    )
    (problem,) = check(Paths(root)).problems
    assert problem.startswith("a tuning job: needs a validation set, and there is none")


def test_weights_are_checked_to_the_last_variable(root, trained, tiny_catalogue):
    model = root / "input/data/model"
    shutil.copytree(trained.root / "model", model)
    write_job(root, {})
    result = check(Paths(root))
    assert result.problems == ()
    assert result.hyperparameters["model_id"] == "tiny_64x64"

    (data,) = (model / "1/variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:1000])
    (problem,) = check(Paths(root)).problems
    assert "variables: the checkpoint cannot be read" in problem

    info = json.loads((model / "model_info.json").read_text())
    (model / "model_info.json").write_text(json.dumps({**info, "labels": ["circle", "square", "star"]}))
    result = check(Paths(root))
    (problem,) = result.problems
    assert "the model's classes are not the data's: added triangle; removed star" in problem
    assert result.hyperparameters == {}  # the model's own defaults are among them
