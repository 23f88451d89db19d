import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.job.metrics import (
    METRICS,
    objective_key,
    training_line,
    validation_lines,
    without_metrics,
)

PUBLISHED = {
    "loss": r"loss=([0-9\.]+).",
    "localization_loss": r"Val_localization=([0-9\.]+)",
    "classification_loss": r"Val_classification=([0-9\.]+)",
}


def test_the_lines_are_the_built_in_algorithms():
    assert training_line(0, 0.296, 942796.33203125) == "[Epoch 0], Speed: 0.296 samples/sec, loss=942796.332031."
    assert validation_lines(
        3, {"mAP_50": 0.6876543, "mAP": 0.4123451, "localization_loss": 0.1, "classification_loss": 2}
    ) == [
        "[Epoch 3], Val_localization=0.100000, Val_classification=2.000000",
        "[Epoch 3], Val_mAP=0.412345, Val_mAP_50=0.687654",
    ]
    assert validation_lines(3, {"localization_loss": 0.0}) == ["[Epoch 3], Val_localization=0.000000"]
    assert validation_lines(3, {}) == []


def test_the_table_has_the_published_regexes_and_directions():
    assert {metric.key: metric.regex for metric in METRICS}.items() >= PUBLISHED.items()
    directions = {metric.name: metric.direction for metric in METRICS}
    assert (
        directions.items()
        >= {
            "train:loss": "Minimize",
            "validation:localization_loss": "Minimize",
            "validation:classification_loss": "Minimize",
            "validation:mAP": "Maximize",
            "validation:mAP_50": "Maximize",
        }.items()
    )


VALUE = st.floats(min_value=0, allow_infinity=False) | st.sampled_from(
    [1.2e-5, 1e-300, 1e300, -0.0, 0.5123, 241507.391]
)


@given(
    values=st.fixed_dictionaries({metric.key: VALUE for metric in METRICS}), speed=VALUE, epoch=st.integers(0, 10**6)
)
def test_every_regex_finds_its_own_value_exactly_once_and_whole(values, speed, epoch):
    validation = {key: value for key, value in values.items() if key != "loss"}
    log = "\n".join([training_line(epoch, speed, values["loss"]), *validation_lines(epoch, validation)]) + "\n"
    for metric in METRICS:
        assert re.findall(metric.regex, log) == [f"{abs(values[metric.key]):.6f}"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.5, -1])
def test_values_no_regex_can_read_are_not_rendered(value):
    with pytest.raises(ValueError, match=f"loss is {value}: the metric regexes read finite numbers from 0 only"):
        training_line(0, 1.0, value)
    with pytest.raises(ValueError, match=f"mAP is {value}: "):
        validation_lines(0, {"mAP": value})


def test_a_metric_of_another_line_is_refused():
    with pytest.raises(ValueError, match=r"not metrics of a validation: \['loss'\]"):
        validation_lines(0, {"loss": 1.0, "mAP": 0.5})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("validation:localization_loss", "localization_loss"),
        ("validation:classification_loss", "classification_loss"),
        ("validation:mAP", "mAP"),
        ("validation:map", "mAP"),
        (" mAP ", "mAP"),
        ("val_mAP", "mAP"),
        ("Val_localization", "localization_loss"),
        ("val_localization_loss", "localization_loss"),
        ("val_classification_loss", "classification_loss"),
        ("validation:mAP_50", "mAP_50"),
        ("train:loss", "loss"),
        ("train_loss", "loss"),
        ("validation:accuracy", None),
        ("", None),
    ],
)
def test_a_tuning_jobs_name_finds_its_metric(name, key):
    assert objective_key(name) == key


@pytest.mark.parametrize(
    "line",
    [
        training_line(0, 1.5, 0.25),
        *validation_lines(3, {"localization_loss": 0.1, "classification_loss": 2, "mAP": 0.5}),
    ],
)
def test_a_metric_line_reaches_the_log_as_it_is(line):
    assert without_metrics(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("training: 3 boxes (loss=0.1. 2, Val_mAP=9 1).", "training: 3 boxes (loss:0.1. 2, Val_mAP:9 1)."),
        ("[Epoch 0], Val_mAP=9 is a class", "[Epoch 0], Val_mAP:9 is a class"),
        ("a\n[Epoch 0], Val_localization=0.5", "a\n[Epoch 0], Val_localization:0.5"),
        ('pretrained_weights="none"; Val_mAP_50=1', 'pretrained_weights="none"; Val_mAP_50:1'),
    ],
)
def test_a_name_in_any_other_line_is_not_read_as_a_metric(line, shown):
    assert without_metrics(line) == shown
    assert not any(re.search(metric.regex, shown) for metric in METRICS)
