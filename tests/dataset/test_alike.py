"""Which images are put together, by which rule, and into which groups."""

import numpy as np
import pytest

from sagemaker_object_detection.dataset.alike import (
    DECLARED,
    EQUAL,
    FRAMES,
    LOOK_ALIKE,
    NAMED_COPIES,
    SEQUENCE,
    Pictures,
    find_groups,
    find_rules,
)
from sagemaker_object_detection.images.likeness import SIDE, Looks, thumbnail
from sagemaker_object_detection.sample_data import draw


def unlike(count: int, seed: int = 0) -> np.ndarray:
    """Thumbnails of pictures that have nothing in common, uint8 [count, SIDE, SIDE]."""
    return np.random.default_rng(seed).integers(20, 230, (count, SIDE, SIDE), np.uint8)


def panned(count: int) -> np.ndarray:
    """Thumbnails of what a camera sees that moves over a wide landscape."""
    wide = np.concatenate([draw(5, 0, index)[0][:240, :240] for index in range(8)], axis=1)
    return np.stack([thumbnail(wide[:, 4 * step : 4 * step + 240]) for step in range(count)])


def pictures(
    names: list[str], thumbnails: np.ndarray, *, second: int = 0, equal=(), groups: dict[int, object] | None = None
) -> Pictures:
    """second: how many of the last are of a second channel. equal: pairs of equal files."""
    looks = Looks(len(names))
    looks.thumbnails[:], looks.seen[:] = thumbnails, True
    looks.digests[:, :4] = np.arange(len(names), dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    for one, other in equal:
        looks.digests[other], looks.thumbnails[other] = looks.digests[one], looks.thumbnails[one]
    channels = (np.arange(len(names)) >= len(names) - second).astype(int)
    return Pictures(names, channels, [(groups or {}).get(index) for index in range(len(names))], looks)


def found(given: Pictures) -> dict[str, list[list[int]]]:
    """By rule, the sets that it puts together."""
    return {rule.name: several for rule in find_rules(given) if (several := several_of(rule.labels))}


def sets(labels: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(labels == label).tolist() for label in np.unique(labels) if label >= 0]


def several_of(labels: np.ndarray) -> list[list[int]]:
    """The sets of more than one image."""
    return [members for members in sets(labels) if len(members) > 1]


def groups_of(given: Pictures) -> list[list[int]]:
    """Groups of more than one image."""
    return several_of(find_groups(find_rules(given), len(given.file_names)).scenes)


def test_each_rule_finds_its_own():
    thumbnails = unlike(9)
    thumbnails[3] = thumbnails[2] // 2 + 40
    names = ["a.jpg", "x.png", "p.jpg", "q.jpg", "b.jpg", "b_flip.jpg", "v.mp4#t=1.jpg", "v.mp4#t=2.jpg", "z.jpg"]
    given = pictures(names, thumbnails, equal=[(0, 1)], groups={4: "g", 8: "g"})
    assert found(given) == {
        DECLARED: [[4, 8]],
        EQUAL: [[0, 1]],
        NAMED_COPIES: [[4, 5]],
        LOOK_ALIKE: [[2, 3]],
        FRAMES: [[6, 7]],
    }
    # The file's word holds for those of which it says something: 5 is not of their group.
    assert groups_of(given) == [[0, 1], [2, 3], [4, 8], [6, 7]]


def test_numbered_pictures_of_unlike_things_are_not_a_group():
    assert found(pictures([f"img_{number:04d}.jpg" for number in range(300)], unlike(300))) == {}


def test_numbered_pictures_of_one_motion_are():
    given = pictures([f"cam_{number:04d}.jpg" for number in range(40)], panned(40))
    assert groups_of(given) == [list(range(40))]
    assert SEQUENCE in found(given)
    shuffled = np.random.default_rng(0).permutation(40)
    assert len(groups_of(pictures([f"cam_{n:04d}.jpg" for n in shuffled], panned(40)[shuffled]))[0]) == 40


def test_a_motion_is_cut_where_the_scene_changes():
    thumbnails = np.concatenate([panned(20), unlike(1), panned(80)[60:]])
    assert groups_of(pictures([f"cam_{number:04d}.jpg" for number in range(41)], thumbnails)) == [
        list(range(20)),
        list(range(21, 41)),
    ]


def test_what_always_looks_about_the_same_is_no_motion():
    """A fixed camera, and another thing before it each time: those that follow one another are no more alike. A few
    are, by chance."""
    random = np.random.default_rng(0)
    thumbnails = np.repeat(unlike(1), 60, axis=0)
    for scene in thumbnails:
        row, column = random.integers(0, SIDE - 4, 2)
        scene[row : row + 4, column : column + 4] = random.integers(0, 2) * 255
    given = pictures([f"belt_{number:03d}.jpg" for number in range(60)], thumbnails)
    assert max(map(len, groups_of(given))) <= 5


def test_names_that_only_a_channel_gives_mean_nothing_in_another():
    names = ["1.jpg", "frame_1.jpg", "clip_7.jpg", "a_flip.jpg"]
    assert found(pictures(names + names, unlike(8), second=4, groups={0: 7, 4: 7})) == {}
    # Copies that were made before the channels were, and those whose pictures were numbered anew in each.
    copies = [*names, "1_flip.jpg", "2_flip.jpg"]
    assert found(pictures([*copies, "1.jpg", "2.jpg"], unlike(8), second=2)) == {NAMED_COPIES: [[0, 4], [5, 7]]}


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ("a_jpg.rf.0123456789abcdef.jpg", "a_jpg.rf.fedcba9876543210.jpg", NAMED_COPIES),
        ("a.jpg", "a_rot90.jpg", NAMED_COPIES),
        ("walk.mp4#t=1.jpg", "walk.mp4#t=2.jpg", FRAMES),
        ("video1-frame12.jpg", "video1-frame13.jpg", FRAMES),
    ],
)
def test_names_that_tell_one_picture_from_others_join_two_channels(one, other, rule):
    assert found(pictures([one, other], unlike(2), second=1)) == {rule: [[0, 1]]}


def test_groups_that_are_text_join_two_channels():
    assert found(pictures(["1.jpg", "2.jpg"], unlike(2), second=1, groups={0: "g", 1: "g"})) == {DECLARED: [[0, 1]]}


def test_copies_are_parts_of_scenes():
    names = ["clip_1.jpg", "clip_2.jpg", "clip_2_flip.jpg", "clip_3.jpg"]
    groups = find_groups(find_rules(pictures(names, unlike(4))), 4)
    assert (sets(groups.scenes), sets(groups.copies)) == ([[0, 1, 2, 3]], [[0], [1, 2], [3]])


def test_copies_that_the_file_parts_are_parted():
    groups = find_groups(find_rules(pictures(["b.jpg", "b_flip.jpg"], unlike(2), groups={0: "g", 1: "h"})), 2)
    assert (groups.any, sets(groups.copies)) == (False, [[0], [1]])


def test_all_rules_over_a_large_set_of_equal_files_end():
    given = pictures([f"{number}.jpg" for number in range(3000)], unlike(3000), equal=[(0, n) for n in range(1, 3000)])
    assert groups_of(given) == [list(range(3000))]
