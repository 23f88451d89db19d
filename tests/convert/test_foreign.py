"""Walking a source's folders: nothing of it is missing without a word."""

import os
import shutil

import pytest
from written_sets import converted, expected, read_back, refused, write_voc, write_yolo

from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.yolo import NOTATION


@pytest.mark.parametrize(
    ("write", "folder"), [(write_yolo, "images/sub"), (write_yolo, "labels/sub"), (write_voc, "Annotations/sub")]
)
def test_a_folder_that_cannot_be_listed_is_told(write, folder, tmp_path, capsys, monkeypatch):
    arguments = write(tmp_path)
    original = os.scandir

    def scandir(path):  # root may list any folder
        if str(path) == f"{tmp_path}/{folder}":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    told = refused(capsys, arguments, tmp_path)
    sentence = f"{tmp_path}/{folder}: cannot be listed (Permission denied). Let it be read, or move it elsewhere."
    assert sentence in told


def test_a_folder_with_two_names_is_walked_under_both_and_a_ring_once(tmp_path):
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "a/deep/f.txt").touch()
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "a/deep/up").symlink_to(tmp_path)
    data = ForeignDataSet("yolo", NOTATION)
    assert list(data.walk(tmp_path)) == ["a/deep/f.txt", "b/deep/f.txt"]
    assert data.problems == []


def test_two_cameras_may_share_their_labels(tmp_path, capsys):
    arguments = write_yolo(tmp_path)
    for kind in ("images", "labels"):
        for name in sorted((tmp_path / kind).iterdir()):
            (tmp_path / kind / "rgb").mkdir(exist_ok=True)
            name.rename(tmp_path / kind / "rgb" / name.name)
    shutil.copytree(tmp_path / "images/rgb", tmp_path / "images/ir")
    (tmp_path / "labels/ir").symlink_to("rgb")
    converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == {
        f"{camera}/{name}": found for camera in ("ir", "rgb") for name, found in expected().items()
    }
