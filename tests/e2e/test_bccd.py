"""Real photographs with real dirt: the job that users of such data run, first as they would, then as it tells them."""

import json

import pytest
from conftest import run_verb, write_job
from shared import shared


@pytest.fixture
def root(tmp_path):
    data = tmp_path / "input/data"
    data.mkdir(parents=True)
    for channel in ("training", "validation"):
        (data / channel).symlink_to(shared(f"datasets/bccd/{channel}"))
    return tmp_path


@pytest.mark.slow
def test_the_first_run_names_both_bad_boxes_and_the_way_out(root):
    write_job(root, {"pretrained_weights": "none"})
    done = run_verb("train", "--root", root)
    assert done.code == 2
    expected = (
        "training annotations[2287], image 'BloodImage_00343.jpg': bbox [181, 329, 181, 329] is empty; ",
        "validation annotations[886], image 'BloodImage_00338.jpg': bbox [504, 337, 504, 337] is empty; ",
    )
    failure = (root / "output/failure").read_text()
    for sentence in expected:
        assert sentence in done.output
        assert sentence in failure
    assert failure.count('set invalid_boxes="drop" to leave such boxes out') == 2
    assert list((root / "model").iterdir()) == []


@pytest.mark.slow
def test_dropping_them_leaves_every_other_box(root):
    write_job(root, {"pretrained_weights": "none", "invalid_boxes": "drop"})
    done = run_verb("check", "--root", root, "--json")
    assert done.code == 0
    assert json.loads(done.output)["problems"] == []
