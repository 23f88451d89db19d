"""Which images a person means by files and folders."""

import logging
import os
from pathlib import Path

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving import image_files
from sagemaker_object_detection.serving.image_files import ImageFile, find_images


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    caplog.set_level(logging.WARNING, image_files.__name__)
    return caplog


def test_a_folder_is_every_image_below_it_in_order(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "b.JPG", "a/z.png", "a/c.jpeg", "c.Png", ".hidden.png", ".git/d.png", "a/.e.jpg")
    names = ["a/c.jpeg", "a/z.png", "b.JPG", "c.Png"]
    assert find_images([tmp_path]) == [ImageFile(tmp_path / name, name) for name in names]
    assert said.messages == []


def test_other_files_are_left_out_and_said_in_one_line(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    one, two = fill(tmp_path / "one", "a.png", "labels.csv"), fill(tmp_path / "two", "a.png", "b.gif", "c\nd")
    assert [file.path for file in find_images([two, one])] == [two / "a.png", one / "a.png"]
    assert said.messages == [
        f"3 files are left out, not being called .jpg, .jpeg, .png: '{two}/b.gif', '{two}/c\\nd', '{one}/labels.csv'"
    ]


def test_files_are_what_was_given_whatever_they_are_called(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, ".photo", "in/a.png")
    given = [tmp_path / ".photo", tmp_path / "missing.png", tmp_path / "in", tmp_path / "in/a.png"]
    assert find_images(given) == [
        ImageFile(tmp_path / ".photo"),
        ImageFile(tmp_path / "missing.png"),
        ImageFile(tmp_path / "in/a.png", "a.png"),
        ImageFile(tmp_path / "in/a.png"),
    ]
    assert said.messages == []


def test_a_folder_without_an_image(tmp_path: Path) -> None:
    ending = "; expected files that are called .jpg, .jpeg, .png"
    (tmp_path / "sub").mkdir()
    with pytest.raises(UserError) as caught:
        find_images([tmp_path])
    assert str(caught.value) == f"folder '{tmp_path}' has no image in it or below it, but no files{ending}"
    fill(tmp_path, "sub/a.tif", "b.txt")
    with pytest.raises(UserError) as caught:
        find_images([tmp_path])
    assert str(caught.value) == (
        f"folder '{tmp_path}' has no image in it or below it, but 2 other files: 'b.txt', 'sub/a.tif'{ending}"
    )


def test_folders_that_link_to_each_other_have_an_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
    (tmp_path / "a/other").symlink_to(tmp_path / "b")
    (tmp_path / "b/other").symlink_to(tmp_path / "a")
    assert [file.name for file in find_images([tmp_path])] == ["a/a.png", "a/other/b.png", "b/b.png", "b/other/a.png"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    outside, folder = fill(tmp_path / "outside", "a.png"), fill(tmp_path / "folder", "sub/b.png")
    (folder / "link").symlink_to(outside)
    (folder / "sub/up").symlink_to(folder)
    (outside / "own").symlink_to(outside)
    assert [file.name for file in find_images([folder])] == ["link/a.png", "sub/b.png"]
    (tmp_path / "root").symlink_to(folder)
    assert [file.name for file in find_images([tmp_path / "root"])] == ["link/a.png", "sub/b.png"]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.png", "sub/b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError) as caught:
        find_images([tmp_path])
    assert str(caught.value) == (
        f"folder '{tmp_path}/sub' cannot be listed (Permission denied); let it be read, or name the images themselves"
    )


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    fill(tmp_path, name)
    assert [file.name for file in find_images([tmp_path])] == [name]
