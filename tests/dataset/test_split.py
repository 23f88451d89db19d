import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.dataset.split import split_images
from sagemaker_object_detection.errors import UserError


@given(
    has_boxes=st.lists(st.booleans(), min_size=2, max_size=40).filter(any),
    ratio=st.floats(1e-6, 0.5),
    seed=st.integers(0, 2**31),
)
def test_every_image_lands_in_one_part_and_both_parts_are_usable(
    has_boxes: list[bool], ratio: float, seed: int
) -> None:
    boxes = np.array(has_boxes)
    training, validation = split_images([f"{i}.jpg" for i in range(len(boxes))], boxes, ratio, seed)
    assert sorted([*training, *validation]) == list(range(len(boxes)))
    assert len(validation) >= 1
    assert boxes[training].any()
    assert boxes[validation].any() or boxes.sum() == 1
    assert len(validation) == max(1, round(ratio * len(boxes)))


def test_the_share_the_seed_and_the_names_decide_not_the_order() -> None:
    names = [f"{i:03d}.jpg" for i in range(100)]
    boxes = np.arange(100) % 10 != 0
    validation = {names[i] for i in split_images(names, boxes, 0.2, 7)[1]}
    assert len(validation) == 20
    assert sum(name.endswith("0.jpg") for name in validation) == 2
    assert {names[::-1][i] for i in split_images(names[::-1], boxes[::-1], 0.2, 7)[1]} == validation
    assert {names[i] for i in split_images(names, boxes, 0.2, 8)[1]} != validation


@pytest.mark.parametrize(
    ("with_boxes", "without", "ratio", "held_out"),
    [(8, 2, 0.2, (2, 0)), (7, 3, 0.2, (1, 1)), (2, 18, 0.1, (1, 1)), (1, 9, 0.5, (0, 5)), (30, 10, 0.25, (8, 2))],
)
def test_images_with_and_without_boxes_are_held_out_in_proportion(
    with_boxes: int, without: int, ratio: float, held_out: tuple[int, int]
) -> None:
    has_boxes = np.arange(with_boxes + without) < with_boxes
    _, validation = split_images([f"{i}.jpg" for i in range(len(has_boxes))], has_boxes, ratio, 3)
    assert (int(has_boxes[validation].sum()), int((~has_boxes[validation]).sum())) == held_out


def test_a_single_image_cannot_be_split() -> None:
    with pytest.raises(UserError) as caught:
        split_images(["a.jpg"], np.array([True]), 0.2, 0)
    assert str(caught.value) == (
        "training has a single image and there is no validation channel, so nothing can be held out. Add images or a "
        'validation channel, or set validation_split_ratio="0" to train without validation.'
    )
