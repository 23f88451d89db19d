"""Which images deserve a second look, why, and in which order."""

from dataclasses import replace

import numpy as np
from made_detections import make_dataset
from test_figures import ELSEWHERE, HERE, THERE, detections

from sagemaker_object_detection.report.figures import compute_figures
from sagemaker_object_detection.report.second_look import MOST, find_second_looks


def looks(corners, classes, *found, losses=None, names=("cat", "dog")):
    dataset = make_dataset(corners, classes, [(100, 100)] * len(corners), names)
    seen = replace(detections(*found), losses=None if losses is None else np.array(losses, np.float32))
    return find_second_looks(dataset, seen, compute_figures(dataset, seen))


def test_what_contradicts_the_boxes_is_told_the_strongest_first():
    found = looks(
        [[HERE], [HERE], [HERE], [HERE, THERE]],
        [[0], [0], [1], [0, 1]],
        [(HERE, 0, 0.9)],
        [(HERE, 0, 0.9), (ELSEWHERE, 0, 0.8)],
        [(HERE, 0, 0.95)],
        [(HERE, 0, 0.7)],
        losses=[1, 2, 3, 4],
    )
    assert [(look.file_name, look.reason, look.loss) for look in found] == [
        ("2.jpg", "a box of 'dog' is 'cat' at 0.95", 3.0),
        ("1.jpg", "'cat' at 0.80 has no box", 2.0),
        ("3.jpg", "a box of 'dog' was never found", 4.0),
    ]
    assert [look.score for look in found] == [np.float32(0.95), np.float32(0.8), None]


def test_a_detection_below_its_threshold_contradicts_nothing():
    # At 0.9 every cat is found and nothing else.
    images = [[(HERE, 0, 0.9)], [(HERE, 0, 0.9), (ELSEWHERE, 0, 0.3)]]
    assert looks([[HERE], [HERE]], [[0], [0]], *images, losses=[1, 1]) == []


def test_a_box_found_with_little_confidence_is_found():
    assert looks([[HERE], [HERE, THERE]], [[0], [0, 0]], [(HERE, 0, 0.9)], [(HERE, 0, 0.9), (THERE, 0, 0.01)]) == []


def test_a_second_detection_of_a_box_contradicts_nothing():
    assert looks([[HERE]], [[0]], [(HERE, 0, 0.9), (HERE, 0, 0.9)]) == []


def test_of_the_rest_the_highest_losses_follow():
    images = [[(HERE, 0, 0.9)]] * 4 + [[]]
    found = looks([[HERE]] * 5, [[0]] * 5, *images, losses=[1, 5, 1, 9, 0.5])
    assert [(look.file_name, look.reason) for look in found] == [
        ("4.jpg", "a box of 'cat' was never found"),
        ("3.jpg", "a loss of more than 2 times the median"),
        ("1.jpg", "a loss of more than 2 times the median"),
    ]


def test_there_are_a_hundred_at_most_and_three_reasons_each():
    classes = [list(range(6))] * (MOST + 20)
    found = looks([[HERE, THERE, ELSEWHERE] * 2] * (MOST + 20), classes, *[[]] * (MOST + 20), names=tuple("abcdef"))
    assert len(found) == MOST
    assert found[0].file_name == "0.jpg"
    assert found[0].reason == (
        "a box of 'a' was never found; a box of 'b' was never found; a box of 'c' was never found and 3 more"
    )
