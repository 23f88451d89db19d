"""A job of the older built-in algorithm gets one sentence and a table, in place of a line for each name."""

import json

from conftest import write_job

from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.preflight import examine

MXNET = {
    "base_network": "resnet-50",
    "use_pretrained_model": "1",
    "num_classes": "20",
    "mini_batch_size": "16",
    "epochs": "1",
    "learning_rate": "0.001",
    "lr_scheduler_step": "3,6",
    "lr_scheduler_factor": "0.1",
    "optimizer": "sgd",
    "momentum": "0.9",
    "weight_decay": "0.0005",
    "overlap_threshold": "0.5",
    "nms_threshold": "0.45",
    "image_shape": "512",
    "label_width": "600",
    "num_training_samples": "16551",
}
CHANNELS = ("train", "validation", "train_annotation", "validation_annotation")


def problems(root, hyperparameters, channels):
    write_job(root, hyperparameters)
    for name in channels:
        (root / "input/data" / name).mkdir(parents=True, exist_ok=True)
        (root / "input/data" / name / "file").touch()
    (root / "input/config/inputdataconfig.json").write_text(json.dumps({name: {} for name in channels}))
    return examine(read_job(Paths(root))).problems


def test_one_lead_sentence_and_what_corresponds(tmp_path):
    (problem,) = problems(tmp_path, MXNET, CHANNELS)
    lead, *table = problem.splitlines()
    assert lead.startswith("this is a job of the built-in Object Detection - MXNet, and this container stands in for")
    assert "    hyperparameter mini_batch_size -> batch_size" in table
    assert "    channel train -> training, with the images in images/" in table
    assert len(table) == len(MXNET) - 4 + 3  # epochs, learning_rate, optimizer and momentum mean the same
    assert "learning_rate" not in [line.split()[1] for line in table]


def test_what_is_wrong_besides_is_told_too(tmp_path):
    lead, *others = problems(tmp_path, {**MXNET, "epochs": "many", "epoch": "1"}, CHANNELS)
    assert lead.startswith("this is a job of the built-in Object Detection - MXNet")
    assert [other.partition(":")[0] for other in others] == ["epochs", "epoch"]


def test_a_single_name_is_a_slip(tmp_path):
    told = problems(tmp_path, {"mini_batch_size": "8"}, ["training"])
    assert told == ("mini_batch_size: unknown; did you mean batch_size?",)


def test_settings_of_image_classification_are_no_sign_of_it(tmp_path):
    names = ("num_classes", "num_training_samples", "image_shape")
    told = problems(tmp_path, dict.fromkeys(names, "2"), ["training"])
    assert tuple(problem.partition(":")[0] for problem in told) == names
