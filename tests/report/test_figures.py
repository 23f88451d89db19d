"""The figures of the report against values worked out by hand, and average precision against the COCO evaluation."""

from typing import Any

import numpy as np
import pytest
from made_detections import make_dataset, nothing, random_case

from sagemaker_object_detection.evaluation.coco import DetectionSet, coco_figures
from sagemaker_object_detection.report.figures import (
    WORST_IMAGES,
    Threshold,
    best_threshold,
    compute_figures,
    match,
    precision_recall,
)

HERE, THERE, ELSEWHERE = (0, 0, 40, 40), (50, 50, 90, 90), (60, 0, 100, 20)


def detections(*images: list[tuple[tuple[int, int, int, int], int, float]]) -> DetectionSet:
    """Of images of 100 pixels: boxes xmin ymin xmax ymax, their classes and scores."""
    found = nothing(len(images))
    for number, image in enumerate(images):
        found.count[number] = len(image)
        for row, ((xmin, ymin, xmax, ymax), index, score) in enumerate(image):
            found.boxes[number, row] = np.array([ymin, xmin, ymax, xmax]) / 100
            found.classes[number, row], found.scores[number, row] = index, score
    return found


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_the_coco_evaluation(seed):
    dataset, found = random_case(seed)
    expected = coco_figures(dataset, found).per_class
    figures = compute_figures(dataset, found)
    assert {
        name: pytest.approx(one.curve.interpolated.mean(), abs=1e-9)
        for name, one in zip(dataset.labels.names, figures.classes, strict=True)
    } == {name: values["mAP_50"] for name, values in expected.items()}
    assert len(expected) == 3


def test_a_curve_by_hand():
    curve = precision_recall(np.array([0.7, 0.9, 0.6, 0.8]), np.array([True, True, False, False]), 3)
    assert curve.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 3, 2 / 4]
    assert curve.recall.tolist() == [1 / 3, 1 / 3, 2 / 3, 2 / 3]
    # 0 to 0.33 have precision 1, 0.34 to 0.66 have 2/3, and the rest is never reached.
    assert curve.interpolated.mean() == pytest.approx((34 + 33 * 2 / 3) / 101)


def about(value: float) -> Any:
    return pytest.approx(value)


def test_the_threshold_is_where_f1_is_best():
    curve = precision_recall(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]), 3)
    assert best_threshold(curve) == Threshold(0.7, 2 / 3, 2 / 3, about(2 / 3))


def test_of_equal_figures_the_higher_score_is_suggested():
    curve = precision_recall(np.array([0.9, 0.5, 0.4]), np.array([True, False, True]), 5)
    assert best_threshold(curve).score == 0.4  # 1/3 < 1/2
    curve = precision_recall(np.array([0.9, 0.5, 0.4, 0.3]), np.array([True, False, False, True]), 2)
    assert best_threshold(curve).score == 0.9  # 2/3 twice


def test_no_threshold_parts_detections_of_one_score():
    curve = precision_recall(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]), 1)
    assert best_threshold(curve) == Threshold(0.5, 1 / 3, 1.0, about(0.5))


@pytest.mark.parametrize("scores", [[], [0.9, 0.8]])
def test_there_is_no_threshold_where_no_detection_is_right(scores):
    curve = precision_recall(np.array(scores), np.zeros(len(scores), bool), 2)
    assert best_threshold(curve) is None
    assert curve.interpolated.mean() == 0.0


def test_the_best_detection_takes_the_box_it_overlaps_most_and_the_next_what_is_left():
    overlap = np.array([[0.6, 0.9], [0.55, 0.8], [0.9, 0.9], [0.4, 0.0]])
    assert match(overlap).tolist() == [1, 0, -1, -1]
    assert match(np.zeros((2, 0))).tolist() == [-1, -1]
    assert match(np.array([[0.5], [0.5]])).tolist() == [0, -1]


def test_what_is_found_in_a_region_to_ignore_is_no_mistake():
    inside = (60, 2, 80, 18)
    dataset = make_dataset(
        [[HERE], [HERE]], [[0], [0]], [(100, 100)] * 2, ("cat", "dog"), ignored=[([ELSEWHERE], [0]), ([HERE], [0])]
    )
    found = [(HERE, 0, 0.9), (inside, 0, 0.95), (ELSEWHERE, 0, 0.92)], [(HERE, 0, 0.9), (HERE, 0, 0.3)]
    figures = compute_figures(dataset, detections(*found))
    # What is both an object and in a crowd is the object, once.
    assert figures.classes[0].threshold == Threshold(about(0.9), 1.0, 1.0, 1.0)
    assert figures.confusion.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert figures.worst == ()
    # The region is of cats: a dog there is wrong.
    bad, _ = compute_figures(dataset, detections([*found[0], (inside, 1, 0.9)], [])).worst
    assert bad.why == "1 where nothing is"


def test_what_is_mixed_up_missed_and_made_up():
    dataset = make_dataset(
        [[HERE, THERE], [HERE], [THERE], [], [THERE]],
        [[0, 1], [0], [1], [], [1]],
        [(100, 100)] * 5,
        names=("cat", "dog"),
    )
    found = detections(
        [(HERE, 0, 0.9), (THERE, 1, 0.8)],
        [(HERE, 1, 0.8), (ELSEWHERE, 0, 0.9)],
        [(THERE, 1, 0.9), (THERE, 1, 0.85), (ELSEWHERE, 1, 0.1)],
        [],
        [(THERE, 1, 0.7)],
    )
    figures = compute_figures(dataset, found)
    cat, dog = figures.classes
    # Two detections of cats with one score, of which one is right; the cat of the second image is not found.
    assert cat.threshold == Threshold(about(0.9), 0.5, 0.5, about(0.5))
    # All but the last: three are right, one finds a dog again, one a cat.
    assert dog.threshold == Threshold(about(0.7), 3 / 5, 1.0, about(3 / 4))
    #                                   cat dog missed
    assert figures.confusion.tolist() == [[1, 1, 0], [0, 3, 0], [1, 1, 0]]
    assert figures.errors.tolist() == [0, 2, 1, 0, 0]
    assert [(bad.index, bad.why) for bad in figures.worst] == [
        (1, "1 cat taken for dog, 1 where nothing is"),
        (2, "1 found again"),
    ]
    worst = figures.worst[0]
    assert worst.image.scores.tolist() == pytest.approx([0.9, 0.8])
    assert worst.image.classes.tolist() == [0, 1]
    assert worst.missed.tolist() == [False]


def test_missed_and_badly_placed():
    dataset = make_dataset([[HERE], [THERE]], [[0], [0]], [(100, 100)] * 2, names=("cat",))
    beside = (25, 0, 65, 40)  # 15 of 65 columns are shared
    figures = compute_figures(dataset, detections([(beside, 0, 0.9)], [(THERE, 0, 0.6)]))
    assert figures.classes[0].threshold.score == pytest.approx(0.6)
    assert figures.confusion.tolist() == [[1, 1], [1, 0]]
    assert figures.errors.tolist() == [2, 0]
    assert [bad.why for bad in figures.worst] == ["1 missed, 1 badly placed"]
    assert figures.worst[0].missed.tolist() == [True]


def test_the_most_frequent_confusions_are_named_and_the_others_counted():
    corners = [(n * 20, 0, n * 20 + 20, 20) for n in range(5)]
    dataset = make_dataset([corners], [[0, 0, 1, 1, 2]], [(100, 100)], names=("cat", "dog", "cow"))
    wrong = [(box, index, 0.9 - n / 100) for n, (box, index) in enumerate(zip(corners, (1, 1, 2, 0, 0), strict=True))]
    (bad,) = compute_figures(dataset, detections(wrong)).worst
    assert bad.why == "2 cat taken for dog, 1 dog taken for cow, 2 of another wrong class"


def test_without_a_threshold_of_its_own_a_class_is_cut_at_a_half():
    dataset = make_dataset([[HERE]], [[0]], [(100, 100)], names=("cat", "dog"))
    figures = compute_figures(dataset, detections([(ELSEWHERE, 0, 0.6), (ELSEWHERE, 1, 0.4), (THERE, 1, 0.6)]))
    assert [one.threshold for one in figures.classes] == [None, None]
    assert figures.classes[1].curve is None
    assert figures.confusion.tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0]]


def test_nothing_detected_and_nothing_to_detect():
    dataset = make_dataset([[HERE], []], [[0], []], [(100, 100)] * 2, names=("cat",))
    figures = compute_figures(dataset, nothing(2))
    assert figures.confusion.tolist() == [[0, 1], [0, 0]]
    assert figures.errors.tolist() == [1, 0]
    empty = compute_figures(make_dataset([[]], [[]], [(100, 100)], names=("cat",)), nothing(1))
    assert empty.classes[0].curve is None
    assert empty.worst == ()


def test_the_images_with_the_most_errors_come_first_and_few_are_kept():
    counts = [1, 3, 2, 0, 1, 1, 1, 1, 1, 1, 1]
    dataset = make_dataset(
        [[HERE] * count for count in counts], [[0] * count for count in counts], [(100, 100)] * len(counts), ("cat",)
    )
    figures = compute_figures(dataset, nothing(len(counts)))
    assert figures.errors.tolist() == counts
    assert [bad.index for bad in figures.worst] == [1, 2, 0, 4, 5, 6, 7, 8]
    assert len(figures.worst) == WORST_IMAGES
