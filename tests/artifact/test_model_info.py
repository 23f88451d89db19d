"""What `model_info.json` may be, and what is said where it is something else."""

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sagemaker_object_detection.artifact.model_info import ModelInfo, model_info, read_model_info
from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError

GOOD: dict[str, Any] = {
    "format": 1,
    "base_model": DEFAULT_MODEL.name,
    "labels": ["cat", "dog"],
    "category_ids": [7, "x"],
    "versions": {"sagemaker-object-detection": "1.2.3"},
}
KNOWN = ", ".join(known.name for known in CATALOGUE)
RESTORE = "expected the file as a training job wrote it: train again or restore the file"


def refusal(model: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_model_info(model)
    return str(caught.value)


def test_what_is_needed_is_read_and_the_rest_ignored(tmp_path: Path) -> None:
    content = json.dumps(GOOD | {"metrics": {"mAP": float("nan")}, "epoch": None})
    (tmp_path / "model_info.json").write_text(content)
    assert read_model_info(tmp_path) == ModelInfo(DEFAULT_MODEL, Labels(ids=(7, "x"), names=("cat", "dog")))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    labels = Labels(ids=(9, "a", 2), names=("zebra", "apple", "cat"))
    content = model_info(DEFAULT_MODEL, labels, hyperparameters={}, weights={}, fingerprints={}, epoch=None, metrics={})
    (tmp_path / "model_info.json").write_text(json.dumps(content))
    assert read_model_info(tmp_path) == ModelInfo(DEFAULT_MODEL, labels)


WRONG = [
    ([], "Expected `object`, got `array`"),
    ("model", "Expected `object`, got `str`"),
    (GOOD | {"versions": 3}, "Expected `object`, got `int` - at `$.versions`"),
    (GOOD | {"format": "1"}, "Expected `int`, got `str` - at `$.format`"),
    (GOOD | {"base_model": None}, "Expected `str`, got `null` - at `$.base_model`"),
    (GOOD | {"labels": "cat"}, "Expected `array`, got `str` - at `$.labels`"),
    (GOOD | {"labels": ["cat", 5]}, "Expected `str`, got `int` - at `$.labels[1]`"),
    (GOOD | {"category_ids": {"7": 1}}, "Expected `array`, got `object` - at `$.category_ids`"),
    (GOOD | {"category_ids": [7, True]}, "Expected `int | str`, got `bool` - at `$.category_ids[1]`"),
    (GOOD | {"category_ids": [7]}, "2 labels for 1 category_ids, 1 of them different"),
    (GOOD | {"category_ids": [7, 7]}, "2 labels for 2 category_ids, 1 of them different"),
    (GOOD | {"category_ids": [], "labels": []}, "0 labels for 0 category_ids, 0 of them different"),
    (GOOD | {"labels": ["cat", "\x1b[2J"]}, r"'\x1b[2J' is no name of a class, which has one line"),
    (GOOD | {"category_ids": [7, "a\nb"]}, r"'a\nb' is no name of a class, which has one line"),
    ({"format": 1, "base_model": DEFAULT_MODEL.name}, "Object missing required field `labels`"),
]


@pytest.mark.parametrize(("content", "reason"), WRONG)
def test_content_that_describes_no_model(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "model_info.json"
    path.write_text(json.dumps(content))
    assert refusal(tmp_path) == f"{path}: describes no model ({reason}); {RESTORE}"


@pytest.mark.parametrize("change", [{"labels": ["cat", "\ud800"]}, {"hyperparameters": {"optimizer": "\udfff"}}])
def test_half_a_character_which_no_answer_and_no_page_can_have(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "model_info.json").write_text(json.dumps(GOOD | change))
    assert "surrogates not allowed); " + RESTORE in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not valid JSON: line 1, column 1: Expecting value"),
        (b"\xff", "is not UTF-8 (byte 1)"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_content_that_is_no_json(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model_info.json"
    path.write_bytes(content)
    assert refusal(tmp_path) == f"{path}: describes no model ({reason}); {RESTORE}"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2, "labels": None}, f"{DEFAULT_MODEL.name!r} in format 2"),
        ({"base_model": "yolo"}, "'yolo' in format 1"),
    ],
)
def test_a_model_of_another_version(tmp_path: Path, change: dict[str, object], what: str) -> None:
    path = tmp_path / "model_info.json"
    path.write_text(json.dumps(GOOD | change))
    assert refusal(tmp_path) == (
        f"{path}: describes a model {what}; expected format 1 and one of {KNOWN}; use the version that wrote it, 1.2.3"
    )


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may read anything.
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "model_info.json"
    path.write_text(json.dumps(GOOD))
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(tmp_path) == (
        f"{path}: cannot be read (Permission denied); expected the model directory that a training job wrote, with "
        "files that may be read"
    )


@pytest.mark.parametrize(("place", "what"), [(os.mkdir, "directory"), (os.mkfifo, "pipe")])
def test_something_else_in_its_place(tmp_path: Path, place: Any, what: str) -> None:
    place(tmp_path / "model_info.json")
    assert f"cannot be read (Is a {what}); expected the model directory" in refusal(tmp_path)


def test_no_such_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path}: holds no model_info.json; expected the model directory that a training job wrote"
    )
