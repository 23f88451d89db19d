"""A trained model measured on a channel: the figures of the job's own validation, and what is wrong in words."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, run_tiny, run_verb, write_job

from sagemaker_object_detection.artifact.export import Exporter
from sagemaker_object_detection.artifact.model_info import add_thresholds, model_info, read_model_info
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluate import Places, evaluate, read_as_trained
from sagemaker_object_detection.evaluation.evaluation import Evaluation
from sagemaker_object_detection.evaluation.evaluator import Evaluator
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.job.stop import StoppedError, StopSignal
from sagemaker_object_detection.models.detector import build_detector


@pytest.fixture
def places(trained: Run, tmp_path: Path, tiny_catalogue: None) -> Places:
    """The small job's model, and its own validation channel."""
    return Places(trained.root / "model", trained.root / "input/data/validation", tmp_path / "evaluation")


def written(places: Places) -> dict[str, Any]:
    return json.loads((places.output / "evaluation.json").read_text())


@pytest.fixture
def spread(places: Places, tmp_path: Path) -> tuple[Places, Evaluation]:
    """A model whose scores lie far apart, and what a job's validation says of it: those of the small job are all but
    equal, so that their order is the threads'."""
    info = read_model_info(places.model)
    detector = build_detector(info.base, len(info.labels), seed=4)
    kernel, bias = detector.class_predictor.variables[-2:]
    kernel.assign(np.random.default_rng(4).normal(0.0, 3.0, kernel.shape))
    bias.assign(np.full(bias.shape, -1.0))
    splits = load_splits(places.data, places.data, read({}))
    content = model_info(
        *(info.base, info.labels), hyperparameters={}, weights={}, fingerprints={}, epoch=0, metrics={}
    )
    Exporter(detector, tmp_path / "model").write(info.labels, content)
    add_thresholds(content, {"circle": 0.75, "square": 0.25}, tmp_path / "model")
    evaluation = Evaluator(detector, splits.validation, l2=None)()
    return Places(tmp_path / "model", places.data, places.output), evaluation


def test_the_figures_are_those_of_a_jobs_validation(spread, caplog):
    places, expected = spread
    with caplog.at_level("INFO"):
        evaluate(places, {})
    content = written(places)
    found = {name: figure["value"] for name, figure in content["object_detection_metrics"].items()}
    assert found == pytest.approx({**expected.coco.overall, **expected.metrics}, abs=1e-6)
    assert found["mAP_50"] > 0.001
    assert (content["images"], content["thresholds_of"]) == (5, "the model")
    assert [one["score"] for one in content["per_class"].values()] == [0.75, 0.25, 0.5]
    for name, one in content["per_class"].items():
        assert {key: one[key] for key in ("mAP", "mAP_50")} == pytest.approx(expected.coco.per_class[name], abs=1e-6)
    assert f"test: 5 images with {content['boxes']} boxes: mAP@[.5:.95] {found['mAP']:.6f}" in caplog.text
    lines = [json.loads(line) for line in (places.output / "images.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"{number:05}.jpg" for number in range(5)]
    assert sum(line["boxes"] for line in lines) == content["boxes"]
    assert {len(line["scores"]) for line in lines} == {100}
    page = (places.output / "report.html").read_text()
    assert "Evaluation" in page
    assert "threshold of the model" in page
    assert "training" not in page.lower().replace("of the training job", "")
    assert sorted(path.name for path in places.output.iterdir()) == [
        *("data_report.json", "evaluation.json", "images.jsonl", "report", "report.html"),
    ]


@pytest.mark.slow
def test_an_archive_is_a_model_too_and_one_without_thresholds_gets_those_of_the_images(places, tmp_path):
    model = Path(shutil.copytree(places.model, tmp_path / "copy"))
    info = json.loads((model / "model_info.json").read_text())
    del info["score_thresholds"]
    (model / "model_info.json").write_text(json.dumps(info))
    (tmp_path / "model").mkdir()
    with tarfile.open(tmp_path / "model/model.tar.gz", "w:gz") as archive:
        archive.add(model, ".")
    evaluate(Places(tmp_path / "model", places.data, places.output), {})
    assert written(places)["thresholds_of"] == "these images"
    assert "suggested threshold" in (places.output / "report.html").read_text()


@pytest.mark.slow
def test_the_test_channel_of_a_job_is_measured_with_the_saved_weights(trained, tmp_path, tiny_catalogue):
    data = tmp_path / "input/data"
    data.mkdir(parents=True)
    for name in ("training", "validation"):
        (data / name).symlink_to(trained.root / "input/data" / name)
    (data / "test").symlink_to(trained.root / "input/data/validation")
    values = {"model_id": "tiny", "pretrained_weights": "none", "epochs": "1", "batch_size": "4"}
    write_job(tmp_path, values)
    run = run_tiny("train", "--root", tmp_path, root=tmp_path)
    assert run.code == 0, run.output
    assert "test: 5 images with " in run.output
    in_job = json.loads((tmp_path / "output/data/test/evaluation.json").read_text())
    evaluate(Places(tmp_path / "model", data / "test", tmp_path / "evaluation"), {})
    after = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert after.keys() == in_job.keys()
    assert after["thresholds_of"] == in_job["thresholds_of"] == "the model"
    metrics = json.loads((tmp_path / "output/data/metrics.json").read_text())
    validation = metrics["epochs"][metrics["saved_epoch"]]["validation"]
    for name in ("localization_loss", "classification_loss"):
        for content in (in_job, after):
            figure = content["object_detection_metrics"][name]["value"]
            assert figure == pytest.approx(validation[name], abs=1e-5)


def test_what_is_wrong_with_the_data_is_told_as_a_job_tells_it(places, tmp_path):
    data = Path(shutil.copytree(places.data, tmp_path / "data"))
    content = json.loads((data / "annotations.json").read_text())
    content["categories"] = [{"id": 77, "name": "other"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 77
    (data / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"category_id 77 .* is unknown to the model"):
        evaluate(Places(places.model, data, places.output), {})
    assert [path.name for path in places.output.iterdir()] == ["data_report.json"]


def test_an_earlier_evaluation_is_gone_when_the_next_one_fails(places):
    places.output.mkdir()
    for name in ("evaluation.json", "images.jsonl", "report.html"):
        (places.output / name).write_text("of another model")
    with pytest.raises(UserError, match="invalid_boxes: got"):
        evaluate(places, {"invalid_boxes": "maybe"})  # found before anything is touched
    assert (places.output / "evaluation.json").exists()
    annotations = places.output.parent / "data/annotations.json"
    shutil.copytree(places.data, annotations.parent)
    annotations.write_text("{}")
    with pytest.raises(UserError):
        evaluate(Places(places.model, annotations.parent, places.output), {})
    assert [path.name for path in places.output.iterdir()] == ["data_report.json"]


def test_the_images_of_the_models_own_job_are_told(places, caplog):
    evaluate(places, {})
    assert "test: these are the validation images of the model's own job, which finds them better" in caplog.text


@pytest.mark.parametrize(("recorded", "read"), [("xyxy", "Auto"), ("xywh", "xywh")])
def test_boxes_are_read_as_the_models_job_read_them_unless_that_is_what_auto_comes_to(recorded, read):
    assert read_as_trained({"bbox_format": recorded}, {}).bbox_format == read
    assert read_as_trained({"bbox_format": recorded}, {"bbox_format": "yxyx"}).bbox_format == "yxyx"


def test_a_stop_leaves_nothing_that_looks_like_an_evaluation(places, monkeypatch):
    monkeypatch.setattr(StopSignal, "requested", True)
    with pytest.raises(StoppedError):
        evaluate(places, {})
    assert not (places.output / "evaluation.json").exists()


def test_a_processing_job_finds_its_places_and_tells_everything_at_once(tmp_path):
    (tmp_path / "processing").mkdir()
    run = run_verb("evaluate", "--root", tmp_path)
    assert run.code == 2
    message = (tmp_path / "output/message").read_text()
    assert message.startswith("UserError: 1 of 2: --data: ")
    for path in (Places.below(Paths(tmp_path)).data, Places.below(Paths(tmp_path)).model):
        assert str(path) in message
    assert message.splitlines()[0].removeprefix("UserError: 1 of 2: ") in run.output
    assert not (tmp_path / "processing/evaluation").exists()


def test_an_option_that_is_no_value_of_the_hyperparameter(places):
    with pytest.raises(UserError, match="invalid_boxes: got 'maybe'; expected "):
        evaluate(places, {"invalid_boxes": "maybe"})
