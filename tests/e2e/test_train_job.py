"""The real command on a small job: what it prints, what it leaves, and how it starts again from what it left."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest
from conftest import TINY_JOB, TINY_JOB_VALUES, run_tiny, run_verb, write_job

from sagemaker_object_detection.job.metrics import METRICS


def figures_of(log: str, name: str) -> list[float]:
    regex = next(metric.regex for metric in METRICS if metric.name == name)
    return [float(found) for found in re.findall(regex, log)]


def test_the_job_ends_well_and_says_everything_once(trained):
    assert trained.code == 0, trained.output + trained.errors
    assert "Val_" not in trained.errors
    assert trained.output.count("Anchors: each of the ") + trained.output.count("Anchors: of all ") == 1
    assert not (trained.root / "output/failure").exists()


def test_the_published_regexes_read_one_value_an_epoch_and_the_saved_one_last(trained):
    metrics = json.loads((trained.root / "output/data/metrics.json").read_text())
    saved = metrics["saved_epoch"]
    for name, key in (
        ("validation:localization_loss", "localization_loss"),
        ("validation:classification_loss", "classification_loss"),
        ("validation:mAP", "mAP"),
        ("validation:mAP_50", "mAP_50"),
    ):
        seen = figures_of(trained.output, name)
        expected = [round(epoch["validation"][key], 6) for epoch in metrics["epochs"]]
        assert seen == pytest.approx([*expected, expected[saved]], abs=1e-6)
    losses = figures_of(trained.output, "train:loss")
    assert losses == pytest.approx([epoch["loss"] for epoch in metrics["epochs"]], abs=1e-6)
    assert len(losses) == 2


def test_the_model_directory_is_whole_and_anyone_may_remove_it(trained):
    model = trained.root / "model"
    assert sorted(path.name for path in model.iterdir()) == ["1", "code", "labels.json", "model_info.json"]
    assert (model / "1/saved_model.pb").is_file()
    for path in (model, *model.rglob("*"), *(trained.root / "output").rglob("*")):
        assert path.stat().st_mode & 0o006 == 0o006, path


def test_the_report_and_the_event_files_lie_beside_the_metrics(trained):
    output = trained.root / "output"
    metrics = json.loads((output / "data/metrics.json").read_text())
    assert f"The report is in {output}/data/report.html.\n" in trained.output
    assert "could not be written" not in trained.output
    assert "atplotlib" not in trained.output + trained.errors
    page = (output / "data/report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') == page.count("<img ") >= 4
    assert {"losses.png", "map.png", "box_sizes.png"} < {path.name for path in (output / "data/report").iterdir()}
    assert metrics["score_thresholds"].keys() <= {"circle", "square", "triangle"}
    assert "Suggested score thresholds" in trained.output
    info = json.loads((trained.root / "model/model_info.json").read_text())
    assert info["score_thresholds"] == pytest.approx(metrics["score_thresholds"], abs=1e-6)

    import tensorflow as tf

    (events,) = (output / "tensorboard").iterdir()
    losses = [
        (event.step, value.simple_value)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
        if value.tag == "train/loss"
    ]
    assert losses == [(epoch["epoch"], pytest.approx(epoch["loss"])) for epoch in metrics["epochs"]]


def test_model_info_says_what_the_model_is(trained):
    info = json.loads((trained.root / "model/model_info.json").read_text())
    metrics = json.loads((trained.root / "output/data/metrics.json").read_text())
    assert info["base_model"] == "tiny_64x64"
    assert info["labels"] == ["circle", "square", "triangle"]
    assert info["category_ids"] == [1, 3, 7]
    assert info["hyperparameters"]["epochs"] == 2
    assert info["hyperparameters"]["batch_size"] == 4
    assert info["hyperparameters"]["freeze_batch_norm"] is False
    assert info["hyperparameters"]["regularizers_l2"] == 2e-5
    assert info["weights"] == {"origin": "none", "fingerprint": "random weights"}
    assert info["epoch"] == metrics["saved_epoch"]
    assert info["metrics"]["mAP"] == metrics["epochs"][info["epoch"]]["validation"]["mAP"]
    assert set(info["data_fingerprints"]) == {"training", "validation"}


@pytest.mark.slow
def test_predict_answers_and_draws(trained, tmp_path):
    images = sorted((trained.root / "input/data/validation/images").iterdir())[:2]
    done = run_tiny("predict", "--model", trained.root / "model", "--draw", tmp_path / "drawn", *images)
    assert done.code == 0, done.errors
    answers = [json.loads(line) for line in done.output.splitlines()]
    assert [answer["image"] for answer in answers] == [str(image) for image in images]
    for answer in answers:
        assert answer["labels"] == ["circle", "square", "triangle"]
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert len(answer["normalized_boxes"]) == len(answer["classes"]) == len(answer["scores"])
        assert set(answer["classes"]) <= {0, 1, 2}
        assert all(
            0 <= xmin < xmax <= 1 and 0 <= ymin < ymax <= 1 for xmin, ymin, xmax, ymax in answer["normalized_boxes"]
        )
        assert (tmp_path / "drawn" / answer["drawing"].rsplit("/", 1)[1]).stat().st_size > 0


@pytest.mark.slow
def test_a_file_that_is_no_image_is_refused_before_the_model_is_loaded(trained, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"GIF89a....")
    done = run_tiny("predict", "--model", trained.root / "model", tmp_path / "a.jpg")
    assert done.code == 2
    assert f"image '{tmp_path / 'a.jpg'}' is a GIF image" in done.errors


@pytest.mark.slow
def test_incremental_training_takes_the_archive_and_refuses_other_classes(trained, tmp_path):
    root = tmp_path / "next"
    shutil.copytree(trained.root / "input/data", root / "input/data")
    (root / "input/data/model").mkdir()
    with tarfile.open(root / "input/data/model/model.tar.gz", "w:gz") as archive:
        for path in (trained.root / "model").iterdir():
            archive.add(path, path.name)
    values = {"epochs": "1", "batch_size": "4", "learning_rate": "0", "freeze_batch_norm": "True"}
    write_job(root, {**values, "passes_per_epoch": "1"})
    done = run_tiny("train", "--root", root)
    assert done.code == 0, done.output + done.errors
    assert 'Starting tiny_64x64 from the model of channel "model"' in done.output
    parent = json.loads((trained.root / "model/model_info.json").read_text())["metrics"]
    child = json.loads((root / "model/model_info.json").read_text())["metrics"]
    # Nothing moved, so the child is its parent; 1e-4: the order of additions in a threaded reduction.
    assert child == pytest.approx(parent, rel=1e-4)

    for channel in ("training", "validation"):
        path = root / f"input/data/{channel}/annotations.json"
        document = json.loads(path.read_text().replace('"category_id": 7', '"category_id": 8'))
        document["categories"] = [{"id": 1, "name": "circle"}, {"id": 3, "name": "square"}, {"id": 8, "name": "star"}]
        path.write_text(json.dumps(document))
    done = run_tiny("train", "--root", root)
    assert done.code == 2
    assert "the model's classes are not the data's: added star; removed triangle" in done.output
    assert 'set reinitialize_top_layer="True"' in (root / "output/failure").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", [pytest.param("True", marks=pytest.mark.nightly), "False"])
def test_features_are_kept_only_if_images_stay_as_they_are(augmentation, trained, tmp_path):
    shutil.copytree(trained.root / "input/data", tmp_path / "input/data")
    shutil.copytree(trained.root / "model", tmp_path / "input/data/model")
    write_job(
        tmp_path,
        {"epochs": "3", "batch_size": "4", "train_only_on_top_layer": "True", "augmentation": augmentation},
    )
    done = run_tiny("train", "--root", tmp_path)
    assert done.code == 0, done.output + done.errors
    assert ("is computed once for each of them" in done.output) == (augmentation == "False")
    # Nothing that boxes depend on has moved.
    localization = figures_of(done.output, "validation:localization_loss")
    assert localization == pytest.approx(localization[:1] * 4, rel=1e-4)
    assert len(set(figures_of(done.output, "validation:classification_loss"))) == 3


def stopped_job(sample_root, root, moment: str) -> str:
    """A job without end that gets SIGTERM, twice, when its log says `moment`; returns what it still says."""
    shutil.copytree(sample_root / "input/data", root / "input/data")
    write_job(root, {**TINY_JOB_VALUES, "epochs": "100000", "batch_size": "4"})
    command = [sys.executable, "-u", str(TINY_JOB), "train", "--root", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if moment in line:
                    break
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()
    return rest


@pytest.mark.slow
def test_sigterm_ends_the_step_and_saves_the_best_epoch(sample_root, tmp_path):
    rest = stopped_job(sample_root, tmp_path, "Val_mAP=")
    assert "Stopped by a signal" in rest
    assert 60 < int(re.search(r"Saving the model; (\d+) seconds are left", rest).group(1)) <= 120
    assert "Val_mAP=" in rest
    info = json.loads((tmp_path / "model/model_info.json").read_text())
    assert info["epoch"] is not None
    assert "worst validation images" in (tmp_path / "output/data/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sigterm_before_the_first_step_saves_no_model(sample_root, tmp_path):
    rest = stopped_job(sample_root, tmp_path, "Checking that")
    assert rest.endswith("WARNING: Stopped by a signal before the first step: there is no model to save.\n")
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.nightly
def test_four_images_of_one_class_with_id_42_are_learnt_by_heart(tmp_path):
    from sagemaker_object_detection.sample_data import write_sample_data

    write_sample_data(tmp_path / "input/data", images=4, validation_images=0, seed=5)
    path = tmp_path / "input/data/training/annotations.json"
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        annotation["category_id"] = 42
    document["categories"] = [{"id": 42, "name": "answer"}]
    path.write_text(json.dumps(document))
    shutil.copytree(tmp_path / "input/data/training", tmp_path / "input/data/validation")
    write_job(
        tmp_path,
        {
            "pretrained_weights": "none",
            "epochs": "10",
            "batch_size": "4",
            "learning_rate": "0.004",
            "learning_rate_schedule": "cosine",
            "augmentation": "False",
        },
    )
    # Four images are one step, and an epoch each: repeat them, so that ten epochs are enough steps.
    for channel in ("training",):
        path = tmp_path / f"input/data/{channel}/annotations.json"
        document = json.loads(path.read_text())
        images, annotations = document["images"], document["annotations"]
        for copy in range(1, 20):
            for image in images[:4]:
                name = f"{copy}-{image['file_name']}"
                source = path.parent / "images" / image["file_name"]
                (path.parent / "images" / name).hardlink_to(source)
                document["images"].append({**image, "id": image["id"] + 100 * copy, "file_name": name})
            document["annotations"] = document["annotations"] + [
                {**annotation, "image_id": annotation["image_id"] + 100 * copy} for annotation in annotations
            ]
        path.write_text(json.dumps(document))
    done = run_verb("train", "--root", tmp_path)
    assert done.code == 0, done.output + done.errors
    assert figures_of(done.output, "validation:mAP_50")[-1] > 0.9
    info = json.loads((tmp_path / "model/model_info.json").read_text())
    labels = json.loads((tmp_path / "model/labels.json").read_text())
    assert (info["labels"], info["category_ids"]) == (["answer"], [42])
    assert labels == {"labels": ["answer"], "category_ids": [42]}


@pytest.mark.slow
def test_a_job_with_crowds_and_many_objects_says_so_and_answers_with_as_many(tmp_path, sample_root):
    shutil.copytree(sample_root / "input/data", tmp_path / "input/data")
    path = tmp_path / "input/data/validation/annotations.json"
    document = json.loads(path.read_text())
    first, *others = document["annotations"]
    # One image of 80 objects and two crowds.
    many = [{**first, "bbox": [n, n, n + 40, n + 30]} for n in range(80)]
    crowds = [{**first, "bbox": [0, 0, 60 + n, 50], "iscrowd": 1} for n in range(2)]
    path.write_text(json.dumps({**document, "annotations": [*many, *crowds, *others]}))
    path = tmp_path / "input/data/training/annotations.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["ignore"] = 1
    path.write_text(json.dumps(document))
    write_job(tmp_path, {**TINY_JOB_VALUES, "epochs": "1", "batch_size": "4", "passes_per_epoch": "1"})
    done = run_tiny("train", "--root", tmp_path)
    assert done.code == 0, done.output + done.errors
    counts = re.findall(
        r"regions to ignore \(iscrowd, ignore\), neither learned nor counted as mistakes: (\d+)", done.output
    )
    assert counts == ["1", "2"]
    assert re.search(r"max_detections 200 \(an image has (80|81) objects at most\)", done.output)
    assert "Validation counts up to 200 detections of an image, where COCO's own figures count 100" in done.output
    metrics = json.loads((tmp_path / "output/data/metrics.json").read_text())
    assert "AR_200" in metrics["epochs"][0]["coco"]
    info = json.loads((tmp_path / "model/model_info.json").read_text())
    assert info["hyperparameters"]["max_detections"] == 200
    image = next((tmp_path / "input/data/validation/images").iterdir())
    answered = run_tiny("predict", "--model", tmp_path / "model", image)
    assert answered.code == 0, answered.errors
    assert 100 < len(json.loads(answered.output)["scores"]) <= 200
