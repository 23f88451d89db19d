"""What file names say of where pictures came from, and what they do not say."""

import pytest

from sagemaker_object_detection.dataset.origins import find_origins, number_in

COPIES = [
    "b.png", "b_flip.jpg", "b-hflip.jpg", "b_flip_rot90.jpg", "b_rot90.jpg", "b_rot_90.jpg", "b_rotated-45.jpg",
    "b_aug3.jpg", "b_aug_12.jpg", "b_augmented.jpg", "b_fliplr.jpg", "b_horizontal_flip.jpg", "b.mirrored.jpg",
    "aug_3_b.jpg", "flip_b.jpg", "rot_90_b.jpg", "flip/b.jpg", "copy of b.jpg", "Copy of b.jpg", "Copy (2) of b.jpg",
    "b - Copy.jpg", "b - Copy (2).jpg", "b copy.jpg", "b copy 2.jpg", "b_copy1.jpg", "b (1).jpg", "b(2).jpg",
    "b_blur.jpg", "b_gray.jpg", "b_bright_2.jpg", "b_flip_blur.jpg",
    "b_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "b_jpg.rf.XyZ0123456.jpg", "b_png.rf.fedcba9876543210.jpg",
    "set_original_b.jpg_01234567-89ab-cdef-0123-456789abcdef.jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", COPIES[1:])
def test_a_copy_has_the_name_of_its_picture(name):
    picture, copy = find_origins(["b.png", name])
    assert (picture.picture, picture.derived) == ("b", False)
    assert (copy.picture, copy.derived) == ("b", True)


UNLIKE = {
    "a camera's numbers": [f"IMG_{number}.jpg" for number in range(2674, 2690)],
    "a plain set": [f"BloodImage_{number:05d}.jpg" for number in range(300)],
    "numbers alone": [f"{number}.jpg" for number in range(300)],
    "renamed together": [f"holiday ({number}).jpg" for number in range(1, 300)],
    "downloaded": ["images.jpg", *(f"images ({number}).jpg" for number in range(1, 40))],
    "what grows": [f"field_crop_{number:03d}.jpg" for number in range(9)],
    "by night": [f"street_dark_{number}.jpg" for number in range(9)],
    "in August": [f"cam_aug_{number}.jpg" for number in range(300)],
    "numbered copies": [f"aug_{number:04d}.jpg" for number in range(300)],
    "words in words": ["rotor_1.jpg", "rotor_2.jpg", "copyright_1.jpg", "copyright_2.jpg", "augsburg_1.jpg"],
    "folders": [f"{folder}/{number}.jpg" for folder in "ab" for number in range(9)],
    "cities": [f"{city}_000{n}_0000{n}_leftImg8bit.png" for city in ("aachen", "bochum") for n in range(9)],
}


@pytest.mark.parametrize("names", UNLIKE.values(), ids=UNLIKE.keys())
def test_unlike_pictures_keep_names_of_their_own(names):
    origins = find_origins(names)
    assert len({origin.picture for origin in origins}) == len(names)
    assert {origin.video for origin in origins} == {None}


@pytest.mark.parametrize(
    ("names", "video", "named"),
    [
        (["clip_000123.jpg", "clip_000124.jpg"], "clip", False),
        (["frame_000123.PNG", "frame_7.PNG"], "", False),
        (["frame0001.jpg", "frame0002.jpg"], "", False),
        (["video1-frame12.jpg", "video1-frame13.jpg"], "video1-", True),
        (["vid.mp4#t=1.5.jpg", "vid.mp4#t=12.jpg"], "vid.mp4", True),
        (["walk.avi_0001.jpg", "walk.avi_0002.jpg"], "walk.avi", True),
        (["walk_mp4-12_jpg.rf.0123456789abcdef.jpg", "walk_mp4-99_jpg.rf.abcdef0123456789.jpg"], "walk_mp4", True),
        (["video1/0001.jpg", "video1/0002.jpg"], "video1", True),
        (["park/frames/0001.jpg", "park/frames/0002.jpg"], "park/", True),
        (["clip_3_0001.jpg", "clip_3_0002_flip.jpg"], "clip_3", True),
        (["seq07_0001.jpg", "seq07_0002.jpg"], "seq07", True),
    ],
)
def test_frames_have_the_name_of_their_video(names, video, named):
    assert [(origin.video, origin.named) for origin in find_origins(names)] == [(video, named)] * 2


@pytest.mark.parametrize("name", ["video1.jpg", "videogame_1.jpg", "paperclip_1.jpg", "framework_2.jpg", "clip.jpg"])
def test_a_word_that_resembles_a_video_is_none(name):
    assert find_origins([name])[0].video is None


def test_the_last_number_of_a_name():
    assert number_in("a1_b22c") == (("a1_b", "c"), 22)
    assert number_in("abc") is None
    assert number_in("9" * 5000)[1] == int("9" * 18)


@pytest.mark.parametrize("piece", ["_flip", "frame ", "clip ", "1_", "-._", "(1)", "_original_", ".rf.", "a"])
def test_a_name_that_is_too_long_is_not_looked_at(piece):
    """The longest that is looked at ends the test within its time: no pattern goes over it again and again."""
    longest = f"{(piece * 300)[:299]}!"
    *_, long, copy = find_origins([f"{longest}.jpg", f"{piece * 1000}x.jpg", f"{piece * 1000}x_flip.jpg"])
    assert (long.derived, copy.derived) == (False, False)
