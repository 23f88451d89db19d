"""What a tree of weights may hold in place of its files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_weights import make_tree

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.weights.tree import find_in_tree

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
