"""Text of users' files passes every door of `check` and `train` as text: it moves no cursor, turns no line, forges no
line, and is not longer than a screen."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import write_job

from sagemaker_object_detection.__main__ import _Format
from sagemaker_object_detection.check import check
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.failure import failure_text
from sagemaker_object_detection.job.paths import Paths

pytestmark = pytest.mark.slow
HOSTILE = {
    "escapes": "\x1b[2J\x1b]0;title\x07",
    "line breaks": "a\r\nERROR: forged\x85\u2028\x0b",
    "directions": "\u202egnp.exe\u2066\u200f",
    "half a pair": "\ud800",
    "a zero": "a\0b",
    "a million": "x" * 1_000_000,
}
FORBIDDEN = frozenset("\x1b\x07\r\x85\u2028\x0b\u202e\u2066\u200f\ud800\0")
GOOD = {"pretrained_weights": "none"}


def _annotations(
    change: Callable[[dict[str, Any], str], object], channel: str = "training"
) -> Callable[[Path, str], None]:
    def write(root: Path, text: str) -> None:
        path = root / f"input/data/{channel}/annotations.json"
        document = json.loads(path.read_text())
        change(document, text)
        path.write_text(json.dumps(document))

    return write


def _raw(template: str) -> Callable[[Path, str], None]:
    def write(root: Path, text: str) -> None:
        key = json.dumps(text)
        (root / "input/data/training/annotations.json").write_text(template.replace("KEY", key))

    return write


def _same_names(document: dict[str, Any], text: str) -> None:
    document["categories"] += [{"id": number, "name": text} for number in (-1, -2)]


def _config(name: str, content: Callable[[str], object]) -> Callable[[Path, str], None]:
    def write(root: Path, text: str) -> None:
        (root / f"input/config/{name}").write_text(json.dumps(content(text)))

    return write


DOORS: dict[str, Callable[[Path, str], None]] = {
    "hyperparameter": lambda root, text: write_job(root, GOOD | {text: "1"}),
    "value": lambda root, text: write_job(root, GOOD | {"epochs": text}),
    "value that is no text": lambda root, text: write_job(root, GOOD | {"epochs": [text]}),
    "weights": lambda root, text: write_job(root, {"pretrained_weights": text}),
    "model": lambda root, text: write_job(root, GOOD | {"model_id": text}),
    "script": lambda root, text: write_job(root, GOOD | {"sagemaker_program": text}),
    "platform's name": lambda root, text: write_job(root, GOOD | {f"sagemaker_{text}": "1"}),
    "objective": lambda root, text: write_job(root, GOOD | {"_tuning_objective_metric": text}),
    "channel": _config("inputdataconfig.json", lambda text: {"training": {}, text: {}}),
    "key of a channel": _config("inputdataconfig.json", lambda text: {"training": {text: text}}),
    "value of a channel": _config("inputdataconfig.json", lambda text: {"training": {"TrainingInputMode": text}}),
    "hosts": _config("resourceconfig.json", lambda text: {"current_host": text, "hosts": [text, text]}),
    "checkpoints": _config("checkpointconfig.json", lambda text: {"LocalPath": f"/opt/ml/model/{text}"}),
    "key that is there twice": _raw('{"images": [], "annotations": [], KEY: 1, KEY: 2}'),
    "key of another document": _raw("{KEY: 1}"),
    "text in place of a document": _raw("KEY"),
    "file name": _annotations(lambda document, text: document["images"][0].update(file_name=f"{text}.jpg")),
    "id of an image": _annotations(lambda document, text: document["images"][0].update(id=text)),
    "image of a box": _annotations(lambda document, text: document["annotations"][0].update(image_id=text)),
    "class of a box": _annotations(lambda document, text: document["annotations"][0].update(category_id=text)),
    "box": _annotations(lambda document, text: document["annotations"][0].update(bbox=text)),
    "rotation": _annotations(lambda document, text: document["annotations"][0].update(bbox_mode=text)),
    "class": _annotations(lambda document, text: document["categories"][0].update(name=text)),
    "classes of one name": _annotations(_same_names),
    "class of another name": _annotations(lambda d, text: d["categories"][0].update(name=text), "validation"),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("door", DOORS)
def test_hostile_text_is_shown_as_text(door: str, text: str, sample_root: Path, tmp_path: Path, caplog) -> None:
    shutil.copytree(sample_root / "input/data", tmp_path / "input/data")
    write_job(tmp_path, GOOD)
    DOORS[door](tmp_path, HOSTILE[text])
    with caplog.at_level(logging.INFO):
        result = check(Paths(tmp_path))
    said = [*result.problems, *result.notes, *result.anchors]
    logged = [_Format().format(record) for record in caplog.records]
    for sentence in said:
        assert not FORBIDDEN & {*sentence}, ascii(sentence[:500])
        assert "\n" not in sentence
        assert len(sentence) < 3_000
    for line in (result.as_text(), result.as_json(), failure_text(UserError(said)), *logged):
        assert not FORBIDDEN & {*line}, ascii(line[:500])
        line.encode()
    assert sum(map(len, said)) + sum(map(len, logged)) < 20_000
