"""Manifests of SageMaker Ground Truth as channels. Their lines are tested in convert/test_convert_ground_truth.py."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_channels import write_channel
from written_sets import Picture, manifest_line, save_image

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.load import Splits, load_splits
from sagemaker_object_detection.dataset.pipeline import evaluation_batches
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read

PICTURES = (
    Picture("a.jpg", 64, 48, ((0, 1, 2, 20, 30),)),
    Picture("b.jpg", 64, 48, ((1, 5, 40, 60, 44), (0, 1, 2, 20, 30))),
    Picture("c.jpg", 64, 48),
)
SOURCES = tuple(f"s3://bucket/some/prefix/{picture.name}" for picture in PICTURES)
Lines = list[dict[str, Any]]


def write(channel: Path, change: Callable[[Lines], object] = lambda lines: None, name: str = "output.manifest") -> Path:
    """A channel of a manifest and images/."""
    for picture in PICTURES:
        picture.save(channel / "images")
    lines = [manifest_line(picture) for picture in PICTURES]
    change(lines)
    (channel / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return channel


def load(channel: Path, validation: Path | None = None, bbox_format: str = "xyxy") -> Splits:
    hyperparameters = read({"validation_split_ratio": "0", "bbox_format": bbox_format})
    return load_splits(channel, validation, hyperparameters, report_folder=channel.parent / "report")


def problems(channel: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(channel)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", ["output.manifest", "all.MANIFEST", "labels.jsonl", "annotations.json", "manifest"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_manifest_is_a_channel(tmp_path: Path, name: str, beside: bool) -> None:
    channel = write(tmp_path / "training", name=name)
    if beside:
        for picture in PICTURES:
            (channel / "images" / picture.name).rename(channel / picture.name)
        (channel / "images").rmdir()
    splits = load(channel)
    data = splits.training
    assert splits.report.warnings == ()
    assert data.file_names == SOURCES
    assert data.labels.ids == (0, 1)
    assert data.labels.names == ("cat", "dog")
    np.testing.assert_array_equal(data.offsets, [0, 1, 3, 3])
    np.testing.assert_array_equal(data.classes, [0, 1, 0])
    expected = [
        [2 / 48, 1 / 64, 30 / 48, 20 / 64],
        [40 / 48, 5 / 64, 44 / 48, 60 / 64],
        [2 / 48, 1 / 64, 30 / 48, 20 / 64],
    ]
    np.testing.assert_allclose(data.boxes, expected, rtol=1e-6)  # float32
    batch = next(iter(evaluation_batches(data, catalogue.DEFAULT_MODEL, 3)))
    assert batch.indices.numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize("bbox_format", ["xyxy", "xywh"])
def test_the_manifest_says_what_its_numbers_are(tmp_path: Path, bbox_format: str) -> None:
    data = load(write(tmp_path / "training"), bbox_format=bbox_format).training
    np.testing.assert_allclose(data.boxes[0], [2 / 48, 1 / 64, 30 / 48, 20 / 64], rtol=1e-6)  # float32


def test_the_same_checks_name_the_lines(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[0]["cells"]["annotations"][0] |= {"width": 100}
        lines[1]["cells"]["annotations"][1] |= {"height": 0}
        lines[2]["cells"]["image_size"] = 5
        lines += [lines[0], manifest_line(Picture("gone.jpg", 64, 48)), manifest_line(Picture("d.jpg", 30, 48))]

    channel = write(tmp_path / "training", change)
    save_image(channel / "images/d.jpg", 64, 48)
    file = "training output.manifest"
    expected = "expected [xmin, ymin, width, height] in pixels, with width and height above 0, inside the image."
    or_clip = 'invalid_boxes="clip" clips those of which half or more is inside.'
    way_out = 'Correct it, or set invalid_boxes="drop" to leave such boxes out.'
    assert problems(channel) == [
        f"{file} line 3: cells: image_size is 5; expected "
        '[{"width": 640, "height": 480, "depth": 3}]. Correct it there.',
        f"{file} line 4 '{SOURCES[0]}' is listed already as output.manifest line 1. Merge the two entries into one.",
        f"{file} line 5 's3://bucket/some/prefix/gone.jpg' is not in {channel}/images. Add the file or remove its "
        "entry.",
        f"{file} line 6 's3://bucket/some/prefix/d.jpg' is 64 wide and 48 high, but the annotations say 30 and 48, so "
        "its boxes would be misplaced. Correct width and height there, or use the image that was annotated.",
        f"{file} line 1 annotations[0], image '{SOURCES[0]}': bbox [1, 2, 100, 28] reaches outside its image, which is "
        f"64 wide and 48 high; {expected} {way_out} {or_clip}",
        f"{file} line 2 annotations[1], image '{SOURCES[1]}': bbox [1, 2, 19, 0] is empty; {expected} {way_out}",
        f"{file} line 4 annotations[0], image '{SOURCES[0]}': bbox [1, 2, 100, 28] reaches outside its image, which is "
        f"64 wide and 48 high; {expected} {way_out} {or_clip}",
    ]


def test_images_are_matched_by_the_ends_of_their_addresses(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        lines[0]["source-ref"] = "s3://bucket/set/train/x.jpg"
        lines[1]["source-ref"] = "s3://bucket/set/val/x.jpg"
        lines[2]["source-ref"] = "s3://bucket/set/y/C.JPG"

    channel = write(tmp_path / "training", change)
    for old, new in (("a.jpg", "val/x.jpg"), ("b.jpg", "train/x.jpg")):
        (channel / "images" / new).parent.mkdir()
        (channel / "images" / old).rename(channel / "images" / new)
    splits = load(channel)
    assert splits.training.files == ["train/x.jpg", "val/x.jpg", "c.jpg"]
    assert splits.report.warnings == (
        "training: 1 file name is written in other capitals, such as 's3://bucket/set/y/C.JPG' for 'c.jpg'; the files "
        "in images/ were taken.",
    )


def adjusted(lines: Lines, status: str = "adjusted", when: str = "2021-01-01T00:00:00", name: str = "newer") -> None:
    """Adds the labels of a job that adjusts the boxes: one dog in the corner."""
    for line, picture in zip(lines, PICTURES, strict=True):
        line |= manifest_line(Picture(picture.name, 64, 48, ((1, 0, 0, 32, 24),)), attribute=name)
        line[f"{name}-metadata"] |= {"adjustment-status": status, "creation-date": when}


@pytest.mark.parametrize("status", ["adjusted", "unadjusted"])
def test_the_newest_adjustment_is_read_and_said(tmp_path: Path, status: str) -> None:
    def change(lines: Lines) -> None:
        adjusted(lines, when="2020-12-01T00:00:00", name="older")
        adjusted(lines, status)

    splits = load(write(tmp_path / "training", change))
    np.testing.assert_array_equal(splits.training.boxes, [[0, 0, 0.5, 0.5]] * 3)
    assert splits.report.warnings == (
        "training output.manifest: label attributes with boxes that are not read ('cells', 'older'; read: 'newer'): 2.",
    )


def test_boxes_of_two_jobs_that_adjust_nothing_are_refused(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        adjusted(lines)
        for line in lines:
            del line["newer-metadata"]["adjustment-status"]

    assert problems(write(tmp_path / "training", change)) == [
        "training output.manifest: has 2 label attributes of type groundtruth/object-detection; those with boxes are "
        "'cells', 'newer'. Say which with scripts/convert_dataset.py ground-truth --label-attribute."
    ]


def test_verdicts_and_lines_that_were_given_up_on_are_told(tmp_path: Path) -> None:
    def change(lines: Lines) -> None:
        for line, verdict in zip(lines, ("good", "bad", "good"), strict=True):
            line["check"] = "1"
            line["check-metadata"] = {"type": "groundtruth/label-verification", "class-name": verdict}
        del lines[0]["cells"]
        lines[0]["cells-metadata"] = {"failure-reason": "ClientError", "type": "groundtruth/object-detection"}

    splits = load(write(tmp_path / "training", change))
    assert splits.training.file_names == SOURCES[1:]
    told = "training output.manifest: lines that the verification 'check' calls"
    assert splits.report.warnings == (
        f"{told} 'good', which are read like others: 2.",
        f"{told} 'bad', which are read like others: 1.",
        "training output.manifest: left out, lines that the labelling job gave up on (failure-reason): 1.",
    )


COCO = "Write them as COCO, and convert that: convert_dataset.py coco FILE --images DIR."
BOX_JOB = "Draw boxes in a bounding-box job: there is nothing else to learn from."
TASKS = [
    ("video-object-detection", COCO),
    ("video-object-tracking", COCO),
    ("lidar_object_detection", BOX_JOB),
    ("semantic-segmentation", BOX_JOB),
    ("image-classification-multilabel", BOX_JOB),
    ("text-classification", BOX_JOB),
    ("label-verification", "Give the output.manifest of the job that drew them."),
]


@pytest.mark.parametrize(("task", "advice"), TASKS)
def test_labels_that_are_no_boxes_are_refused_by_name(tmp_path: Path, task: str, advice: str) -> None:
    def change(lines: Lines) -> None:
        lines[:] = [{"source-ref": SOURCES[0], "job-ref": "s3://bucket/SeqLabel.json"}]
        lines[0]["job-ref-metadata"] = {"type": f"groundtruth/{task}", "class-map": {"0": "car"}}

    (problem,) = problems(write(tmp_path / "training", change))
    assert problem.startswith(
        "training output.manifest: has no label attribute of type groundtruth/object-detection; the others are "
        f"'job-ref (groundtruth/{task})'. "
    )
    assert problem.endswith(advice)


def test_the_input_of_a_labelling_job_is_told_from_its_output(tmp_path: Path) -> None:
    channel = write(tmp_path / "training", lambda lines: lines.__setitem__(slice(None), [{"source-ref": SOURCES[0]}]))
    assert problems(channel) == [
        "training output.manifest: has no label attribute of type groundtruth/object-detection; no line has a key that "
        'ends in "-metadata", so it is the input of a labelling job. Give the job\'s output.manifest, which is in '
        "manifests/output/ below its output path."
    ]
    write(channel, name="real.manifest")  # of the two, this one has labels
    assert load(channel).training.file_names == SOURCES


def test_annotations_are_read_rather_than_a_manifest_beside_them(tmp_path: Path) -> None:
    channel = write_channel(tmp_path / "training")
    shutil.copy(write(tmp_path / "other") / "output.manifest", channel)
    splits = load(channel)
    assert splits.training.file_names == ("a.jpg", "b.png")
    assert splits.report.warnings == (
        "training: annotations.json is read, and 'output.manifest' beside it is not. Leave the one that is meant.",
    )


def test_of_two_manifests_none_is_chosen(tmp_path: Path) -> None:
    channel = write(tmp_path / "training")
    write(channel, name="second.manifest")
    assert problems(channel) == [
        f"training: {channel} holds 'output.manifest', 'second.manifest'. Leave the one manifest that is meant."
    ]


def test_both_channels_may_be_manifests_with_the_same_classes(tmp_path: Path) -> None:
    training, validation = write(tmp_path / "training"), write(tmp_path / "validation")
    assert load(training, validation).validation is not None

    def rename(lines: Lines) -> None:
        for line in lines:
            line["cells-metadata"]["class-map"] = {"0": "cow"}
        del lines[1]

    write(validation, rename)
    with pytest.raises(UserError, match="validation categories: id 0 is 'cow', but training calls it 'cat'"):
        load(training, validation)


def test_a_manifest_in_a_folder_below_is_pointed_at(tmp_path: Path) -> None:
    write(tmp_path / "training/manifests/output")
    (problem,) = problems(tmp_path / "training")
    assert problem.endswith("There is one in manifests/output/: let the channel's S3 path end in manifests/output/.")


def test_a_group_of_a_line_keeps_images_together(tmp_path: Path) -> None:
    def grouped(lines: Lines) -> None:
        for line, group in zip(lines, ("patient 7", "patient 7", ""), strict=True):
            line["group"] = group

    table, found = read_annotations("training", write(tmp_path / "training", grouped))
    assert table is not None
    assert (list(table.origins), found) == (["patient 7", "patient 7", None], [])
