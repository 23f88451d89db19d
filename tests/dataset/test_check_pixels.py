"""Pixels that lose their signal, and files that may be left out: what is told, and what is trained on."""

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from made_channels import picture, write_annotations
from PIL import Image

from sagemaker_object_detection.artifact.model_info import model_info
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.dataset.load import Splits, load_splits
from sagemaker_object_detection.dataset.reader import ImageReader
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.exif import exif_orientation

SIZE = (32, 24)


def write(
    channel: Path, images: Mapping[str, Image.Image | bytes | None], *, boxes: bool = True, sizes: bool = True
) -> Path:
    """A channel with a box in each image; None for a file that is not there."""
    content: dict[str, Any] = {"images": [], "annotations": []}
    (channel / "images").mkdir(parents=True)
    for number, (name, image) in enumerate(images.items()):
        size = {"width": SIZE[0], "height": SIZE[1]} if sizes else {}
        content["images"].append({"file_name": name, "id": number, **size})
        if boxes:
            content["annotations"].append({"image_id": number, "bbox": [6, 6, 20, 20], "category_id": 1})
        if isinstance(image, Image.Image):
            image.save(channel / "images" / name)
        elif image is not None:
            (channel / "images" / name).write_bytes(image)
    write_annotations(channel, content)
    return channel


def load(training: Path, validation: Path | None = None, **given: str) -> Splits:
    hyperparameters = read({"validation_split_ratio": "0", **given})
    return load_splits(training, validation, hyperparameters, report_folder=training.parent / "report")


def report(channel: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((channel.parent / "report" / "data_report.json").read_text())
    return found


def deep(largest: int, seed: int = 0) -> Image.Image:
    """Of 16 bits a sample."""
    shades = np.asarray(picture(*SIZE, seed=seed).convert("L")).astype(float)
    shades -= shades.min()
    return Image.fromarray(np.round(shades / shades.max() * largest).astype(np.uint16))


def glass(alpha: int) -> Image.Image:
    """The left half has this alpha."""
    image = picture(*SIZE).convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(SIZE[0]) < 16, alpha, 255).astype(np.uint8)[None].repeat(24, 0)))
    return image


def pixels(splits: Splits, index: int) -> np.ndarray:
    """What training sees; twice, since the first time may leave it in memory."""
    reader = ImageReader(splits.training)
    first, second = (reader(tf.constant(index, tf.int64)).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    return first


def served(splits: Splits, path: Path) -> np.ndarray:
    """What the exported model's signature sees."""
    info = model_info(
        DEFAULT_MODEL,
        Labels((1,), ("1",)),
        hyperparameters={},
        weights={},
        fingerprints={},
        epoch=None,
        metrics={},
        sample_bits=splits.training.sample_bits,
    )
    contents = tf.constant(path.read_bytes())
    return decode(contents, exif_orientation(contents), sample_bits=info["sample_bits"]).numpy()


def test_12_bits_of_16_are_scaled_alike_in_all_channels(tmp_path: Path) -> None:
    images = {"a.png": deep(4095), "dim.png": deep(900, 1), "8bits.png": picture(*SIZE)}
    training = write(tmp_path / "training", images)
    splits = load(training, write(tmp_path / "validation", {"c.png": deep(2000, 2)}))
    assert splits.report.warnings[:2] == (
        "training: 2 of 3 images ('a.png', 'dim.png') have 16 bits a sample, of which the data uses 12: they are "
        "scaled by that, here and by the exported model.",
        "validation: 1 of 1 images ('c.png') have 16 bits a sample, of which the data uses 12: they are scaled by "
        "that, here and by the exported model.",
    )
    for index, (name, image) in enumerate(list(images.items())[:2]):
        expected = np.asarray(image) >> 4
        assert expected.max() == (255 if index == 0 else 56)
        np.testing.assert_array_equal(pixels(splits, index)[..., 1], expected)
        np.testing.assert_array_equal(served(splits, training / "images" / name)[..., 1], expected)
    np.testing.assert_array_equal(pixels(splits, 2), np.asarray(images["8bits.png"]))
    assert splits.validation is not None
    assert splits.training.sample_bits == splits.validation.sample_bits == 12
    told = report(training)["channels"]
    assert [channel["deep_images"] for channel in told] == [2, 1]
    assert {channel["sample_bits"] for channel in told} == {12}


def test_16_bits_that_are_used_are_no_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    image = deep(65535)
    splits = load(write(tmp_path / "training", {"a.png": image, "b.png": deep(40_000, 1)}))
    assert splits.report.warnings == ()
    np.testing.assert_array_equal(pixels(splits, 0)[..., 0], np.asarray(image) >> 8)
    assert any("images of 16 bits a sample, of which 16 are used: 2" in message for message in caplog.messages)


def test_one_bright_image_among_dark_ones_is_named(tmp_path: Path) -> None:
    images = {"a.png": deep(4095), "b.png": deep(4000, 1), "c.png": deep(65535)}
    (dark, flat) = load(write(tmp_path / "training", images)).report.warnings
    assert dark == (
        "training: 2 of 3 images ('a.png', 'b.png') use at least 3 bits less of their 16 than the brightest images "
        "('c.png'), and come out dark: all are scaled alike. Scale them to the same range."
    )
    assert flat.startswith("training: 2 of 3 images ('a.png', 'b.png') have boxes, but are all but of one colour")


def test_what_the_16_bits_of_others_come_to_belongs_to_the_fingerprint(tmp_path: Path) -> None:
    def fingerprint(folder: str, other: Image.Image) -> str:
        validation = write(tmp_path / folder / "validation", {"b.png": other})
        return load(write(tmp_path / folder / "training", {"a.png": deep(4095)}), validation).training.fingerprint

    assert fingerprint("one", deep(4095, 1)) == fingerprint("two", deep(3000, 2)) != fingerprint("three", deep(65535))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_seen_on_white(tmp_path: Path, mode: str) -> None:
    images = {
        "opaque.png": glass(255).convert(mode),
        "a.png": glass(0).convert(mode),
        "b.png": glass(128).convert(mode),
    }
    training = write(tmp_path / "training", images)
    splits = load(training)
    assert splits.report.warnings == (
        "training: 2 of 3 images ('a.png', 'b.png') are transparent in part. They are seen on white, as a browser "
        "shows them, here and by the exported model; the colours that they hide are not.",
    )
    assert report(training)["channels"][0]["transparent_images"] == 2
    whole, clear, half = (pixels(splits, index).astype(int) for index in range(3))
    np.testing.assert_array_equal(whole, np.asarray(images["opaque.png"].convert("RGB")))
    assert (clear[:, :16] == 255).all()
    np.testing.assert_array_equal(clear[:, 16:], whole[:, 16:])
    np.testing.assert_array_equal(half[:, :16], np.floor(whole[:, :16] * 128 / 255 + 255 * 127 / 255 + 0.5))
    for index, name in enumerate(images):
        np.testing.assert_array_equal(served(splits, training / "images" / name), pixels(splits, index))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (250, 10, 10)])
def test_images_of_one_colour_with_boxes_are_told(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    speck = Image.new("RGB", SIZE, (128, 128, 128))
    speck.putpixel((9, 9), (160, 128, 128))
    images = {"a.png": Image.new("RGB", SIZE, colour), "b.jpg": Image.new("RGB", SIZE, colour), "c.png": speck}
    channel = write(tmp_path / "training", images)
    (warning,) = load(channel).report.warnings
    assert warning == (
        "training: 2 of 3 images ('a.png', 'b.jpg') have boxes, but are all but of one colour: nothing can be learnt "
        "from them. See that these are the images that were annotated."
    )
    assert report(channel)["channels"][0]["flat_images"] == 2


def test_images_of_one_colour_without_boxes_are_negatives(tmp_path: Path) -> None:
    training = write(tmp_path / "training", {"a.png": picture(*SIZE)})
    validation = write(tmp_path / "validation", {"b.png": Image.new("RGB", SIZE)}, boxes=False)
    assert not any("one colour" in warning for warning in load(training, validation).report.warnings)


def turned_by_xmp(orientation: int) -> bytes:
    buffer = io.BytesIO()
    picture(*SIZE).save(buffer, "JPEG", xmp=f'<x tiff:Orientation="{orientation}"/>'.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("orientation", "sizes", "applied", "told"), [(3, True, 3, 1), (6, True, 1, 0), (6, False, 6, 1)]
)
def test_an_orientation_in_xmp_alone_is_applied_and_told(
    tmp_path: Path, orientation: int, sizes: bool, applied: int, told: int
) -> None:
    channel = write(tmp_path / "training", {"a.jpg": turned_by_xmp(orientation)}, sizes=sizes)
    splits = load(channel)
    assert splits.training.orientations.tolist() == [applied]
    assert [warning.partition(" are turned")[0] for warning in splits.report.warnings] == told * [
        "training: 1 of 1 images ('a.jpg')"
    ]
    assert report(channel)["channels"][0]["xmp_turned_images"] == told
    if applied == orientation:
        np.testing.assert_array_equal(served(splits, channel / "images" / "a.jpg"), pixels(splits, 0))


def test_an_orientation_in_xmp_that_the_sizes_confirm_needs_no_word(tmp_path: Path) -> None:
    channel = write(tmp_path / "training", {"a.jpg": turned_by_xmp(6)})
    path = channel / "annotations.json"
    path.write_text(path.read_text().replace('"width": 32, "height": 24', '"width": 24, "height": 32'))
    splits = load(channel)
    assert (splits.training.orientations.tolist(), splits.report.warnings) == ([6], ())


def many(count: int, **others: Image.Image | bytes | None) -> dict[str, Image.Image | bytes | None]:
    return {f"{number}.png": picture(*SIZE, seed=number) for number in range(count)} | {
        name.replace("_", "."): image for name, image in others.items()
    }


def cut_short() -> bytes:
    buffer = io.BytesIO()
    picture(*SIZE).save(buffer, "PNG")
    return buffer.getvalue()[:-30]


def test_unusable_images_are_left_out_on_request(tmp_path: Path) -> None:
    images = many(36, cut_png=cut_short(), gone_png=None, gif_png=b"GIF89a", empty_jpg=b"")
    channel = write(tmp_path / "training", images)
    splits = load(channel, invalid_images="drop")
    assert splits.training.file_names == tuple(f"{number}.png" for number in range(36))
    assert len(splits.training.boxes) == 36
    texts = [
        "training images[36] 'cut.png' cannot be decoded: the file is cut short or damaged. Replace it.",
        "training images[37] 'gone.png' does not exist. Add the file or remove its entry.",
        "training images[38] 'gif.png' is a GIF image. Expected a JPEG or PNG image: convert it, as \"magick mogrify "
        '-format png FILE" does.',
        "training images[39] 'empty.jpg' is an empty file. Upload it again.",
    ]
    assert splits.report.warnings[-1] == (
        'training: left out 4 of 40 images, as invalid_images="drop" asks: damaged images: 1, empty image files: 1, '
        f"images of other formats: 1, missing images: 1. First: {' '.join(texts[:3])}"
    )
    assert report(channel)["channels"][0]["dropped_images"] == texts
    assert report(channel)["problems"] == []
    pixels(splits, 35)


def test_more_than_a_tenth_is_not_left_out(tmp_path: Path) -> None:
    channel = write(tmp_path / "training", many(17, cut_png=cut_short(), gone_png=None))
    with pytest.raises(UserError) as caught:
        load(channel, invalid_images="drop")
    assert caught.value.problems == (
        'training: 2 of 19 images cannot be used. invalid_images="drop" leaves out at most 10% of a channel: see that '
        "all of it was uploaded, and that the annotations are of these images.",
        "training images[17] 'cut.png' cannot be decoded: the file is cut short or damaged. Replace it.",
        "training images[18] 'gone.png' does not exist. Add the file or remove its entry.",
    )
    assert len(report(channel)["problems"]) == 3


def test_other_mistakes_are_told_all_the_same(tmp_path: Path) -> None:
    channel = write(tmp_path / "training", many(20, gone_png=None))
    (channel / "images" / "3.png").unlink()
    picture(50, 50).save(channel / "images" / "3.png")
    with pytest.raises(UserError, match=r"^training images\[3\] '3.png' is 50 wide and 50 high, but") as caught:
        load(channel, invalid_images="drop")
    assert len(caught.value.problems) == 1


def test_boxes_must_be_left_to_learn_from(tmp_path: Path) -> None:
    channel = write(tmp_path / "training", many(20, cut_png=cut_short()))
    content = json.loads((channel / "annotations.json").read_text())
    content["annotations"] = content["annotations"][-1:]
    write_annotations(channel, content)
    with pytest.raises(UserError) as caught:
        load(channel, invalid_images="drop")
    assert caught.value.problems[0] == (
        "training: every image with boxes cannot be used (1 of 21 images). Expected at least one box to learn from."
    )
    (channel / "images" / "cut.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^training: there is no box in annotations"):
        load(channel, invalid_images="drop")


def test_the_split_is_of_what_is_left(tmp_path: Path) -> None:
    images = many(12, gone_png=None)
    channel = write(tmp_path / "training", dict(reversed(images.items())))
    splits = load(channel, invalid_images="drop", validation_split_ratio="0.25")
    assert splits.validation is not None
    names = (*splits.training.file_names, *splits.validation.file_names)
    assert sorted(names) == sorted(set(images) - {"gone.png"})
    assert len(splits.validation.file_names) == 3
    assert len(splits.validation.boxes) == 3


@pytest.mark.parametrize("form", ["damaged", "good"])
def test_without_the_request_nothing_is_left_out(tmp_path: Path, form: str) -> None:
    images = many(20) if form == "good" else many(20, cut_png=cut_short())
    channel = write(tmp_path / "training", images)
    if form == "good":
        assert len(load(channel).training.file_names) == 20
        return
    with pytest.raises(UserError, match=r"^training images\[20\] 'cut.png' cannot be decoded"):
        load(channel)
