"""What a tree of weights may hold in place of its files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_weights import bounded, make_tree

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.weights.tree import Weights, find_in_tree

TREES = [
    (("checkpoint/ckpt-0.index",), "checkpoint/ckpt-0.data-00000-of-00001"),
    (("variables/variables.index",), "variables/variables.data-00000-of-00001"),
    (("model_info.json", "1/variables/variables.index"), "1/variables/variables.data-00000-of-00001"),
    (("model_info.json",), "1/variables/variables.index"),
]
OTHERS: list[Callable[[Path], object]] = [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")]


@pytest.mark.parametrize(("names", "special"), TREES)
@pytest.mark.parametrize("make", OTHERS, ids=["pipe", "folder", "device"])
def test_what_is_no_plain_file_is_refused_before_it_is_read(
    tmp_path: Path, names: tuple[str, ...], special: str, make: Callable[[Path], object]
) -> None:
    make_tree(tmp_path, *names)
    (tmp_path / special).parent.mkdir(parents=True, exist_ok=True)
    make(tmp_path / special)
    with pytest.raises(UserError) as caught:
        find_in_tree(tmp_path, "weights")
    # Of a path no more is told than its last folder.
    named = "/".join(special.split("/")[-2:])
    assert str(caught.value) == (
        f"weights: {named} is no plain file; expected the files of a checkpoint as they were written: copy the folder "
        "again"
    )


@pytest.mark.parametrize(
    "names",
    [
        # As the script of JumpStart's image classification reads what it is given: `1/` beside `__models_info__.json`.
        ("1/variables/variables.index", "1/saved_model.pb", "__models_info__.json", "labels_info.json"),
        ("saved/1/variables/variables.index", "saved/readme.txt", "code/inference.py"),
    ],
)
def test_weights_in_one_of_several_subfolders_are_found(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = find_in_tree(make_tree(tmp_path, *names), "weights")
    assert isinstance(found, Weights)
    assert found.checkpoint == tmp_path / names[0].removesuffix(".index")


def test_weights_in_several_places_are_refused_with_the_places(tmp_path: Path) -> None:
    make_tree(tmp_path, "a/checkpoint/ckpt-0.index", "b/c/1/variables/variables.index", "d/model.tar.gz", "e/x.txt")
    with pytest.raises(UserError) as caught:
        find_in_tree(tmp_path, "weights")
    assert str(caught.value) == (
        "weights: found weights in several places: a, d/model.tar.gz, b/c/1; expected those of one model: give one "
        "alone"
    )


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    make_tree(tmp_path, "a/checkpoint/ckpt-0.index", "b/x.txt")
    (tmp_path / "b/up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    found = find_in_tree(tmp_path, "weights")
    assert isinstance(found, Weights)
    assert found.checkpoint == tmp_path / "a/checkpoint/ckpt-0"


def test_folder_of_more_files_than_weights_have_is_given_up(tmp_path: Path) -> None:
    make_tree(tmp_path, *(f"{number}/x.txt" for number in range(6)))
    with bounded(MAX_ENTRIES=10), pytest.raises(UserError) as caught:
        find_in_tree(tmp_path, "weights")
    assert str(caught.value) == (
        "weights: the folder holds more than 10 files and folders, which are no weights; give the files of one model "
        "alone"
    )
