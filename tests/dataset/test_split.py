import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagemaker_object_detection.dataset.alike import Groups
from sagemaker_object_detection.dataset.split import split_groups, split_images
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


def grouped(sizes: list[int], copies: int = 1) -> tuple[list[str], Groups]:
    """Names "group_number.jpg" of groups of such sizes, each of copies of so many images."""
    scenes = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    places = np.arange(sum(sizes)) - scenes
    names = [f"{np.unique(scenes).tolist().index(s):03d}_{p}.jpg" for s, p in zip(scenes, places, strict=True)]
    return names, Groups(scenes + places // copies * copies, scenes)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=30).filter(lambda sizes: sum(sizes) > 1),
    empty=st.sets(st.integers(0, 200)),
    copies=st.integers(1, 4),
    ratio=st.floats(1e-6, 0.5),
    seed=st.integers(0, 2**31),
)
def test_groups_stay_together_but_for_those_that_are_named(sizes, empty, copies, ratio, seed) -> None:
    names, groups = grouped(sizes, copies)
    has_boxes = np.array([index not in empty for index in range(len(names))])
    has_boxes[0] = True
    split = split_groups(names, has_boxes, ratio, seed, groups)
    assert sorted([*split.training, *split.validation]) == list(range(len(names)))
    assert has_boxes[split.training].any()
    assert len(split.validation) >= 1
    assert has_boxes[split.validation].any() or has_boxes.sum() == 1
    torn = set(groups.scenes[split.training]) & set(groups.scenes[split.validation])
    assert torn == {groups.scenes[part[0]] for part in split.cut}
    wanted = min(max(1, round(ratio * has_boxes.sum())), has_boxes.sum() - 1)
    assert abs(has_boxes[split.validation].sum() - wanted) <= max(1, wanted // 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.5])
def test_the_ratio_is_met_by_groups_of_copies(ratio: float, seed: int) -> None:
    names, groups = grouped([3] * 100)
    split = split_groups(names, np.ones(300, bool), ratio, seed, groups)
    assert abs(len(split.validation) - 300 * ratio) <= 1
    assert split.cut == ()


def test_the_order_of_the_file_does_not_matter_to_groups() -> None:
    names, groups = grouped([3, 1, 5, 2, 2, 4, 1, 1, 7, 3])
    boxes = np.arange(len(names)) % 5 != 0
    backwards = np.arange(len(names))[::-1]
    found = {names[i] for i in split_groups(names, boxes, 0.3, 7, groups).validation}
    turned = Groups(len(names) - 1 - groups.copies[backwards], len(names) - 1 - groups.scenes[backwards])
    others = split_groups([names[i] for i in backwards], boxes[backwards], 0.3, 7, turned).validation
    assert {names[backwards[i]] for i in others} == found
    assert {names[i] for i in split_groups(names, boxes, 0.3, 8, groups).validation} != found


def test_images_with_and_without_boxes_are_held_out_by_group_in_proportion() -> None:
    names, groups = grouped([2] * 50)
    has_boxes = np.arange(100) < 80
    validation = split_groups(names, has_boxes, 0.2, 3, groups).validation
    assert (int(has_boxes[validation].sum()), int((~has_boxes[validation]).sum())) == (16, 4)


@pytest.mark.parametrize(("sizes", "held_out"), [([95, 1, 1, 1, 1, 1], 20), ([100], 20), ([50, 50], 20)])
def test_of_a_group_that_is_too_large_the_end_is_held_out(sizes: list[int], held_out: int) -> None:
    names, groups = grouped(sizes)
    split = split_groups(names, np.ones(100, bool), 0.2, 0, groups)
    assert len(split.validation) == held_out
    (cut,) = split.cut
    inside = np.isin(cut, split.validation)
    # In the order of the numbers, 9 before 10, and nothing between those that are held out.
    assert [names[index] for index in cut] == [f"000_{number}.jpg" for number in range(sizes[0])]
    assert inside.tolist() == sorted(inside.tolist())


def test_copies_are_the_last_to_be_cut() -> None:
    names, groups = grouped([90, 10], copies=3)
    split = split_groups(names, np.ones(100, bool), 0.25, 0, groups)
    assert 0.2 < len(split.validation) / 100 < 0.3
    assert not set(groups.copies[split.training]) & set(groups.copies[split.validation])


def test_copies_of_a_single_picture_are_cut() -> None:
    names, groups = grouped([10], copies=10)
    split = split_groups(names, np.ones(10, bool), 0.2, 0, groups)
    assert len(split.validation) == 2
