import json

import pytest
from written_sets import (
    Picture,
    converted,
    expected,
    manifest_line,
    read_back,
    refused,
    save_image,
    write_ground_truth,
    write_manifest,
)

PICTURES = (
    Picture("a.jpg", 64, 48, ((0, 1, 2, 20, 30),)),
    Picture("b.jpg", 64, 48, ((1, 5, 40, 60, 44), (0, 1, 2, 20, 30))),
    Picture("c.jpg", 64, 48),
)


@pytest.fixture
def source(tmp_path):
    """The arguments of a small data set, and its lines, to be changed and written again."""
    return write_ground_truth(tmp_path, PICTURES), [manifest_line(picture) for picture in PICTURES]


def test_lines_that_were_given_up_on_are_left_out_and_counted(source, tmp_path, capsys):
    arguments, lines = source
    del lines[0]["cells"]
    lines[0]["cells-metadata"] = {"failure-reason": "ClientError", "type": "groundtruth/object-detection"}
    write_manifest(tmp_path, lines)
    said = converted(capsys, arguments, tmp_path / "new")
    assert said[3] == "left out, lines that the labelling job gave up on (failure-reason): 1"
    assert read_back(tmp_path / "new") == expected(PICTURES[1:])


def test_lines_with_a_label_are_taken_whatever_failed_before(source, tmp_path, capsys):
    arguments, lines = source
    lines[0]["cells-metadata"]["failure-reason"] = "ClientError: a worker's answer was lost"
    write_manifest(tmp_path, lines)
    converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_the_label_attribute_is_asked_for_where_there_are_two(source, tmp_path, capsys):
    arguments, lines = source
    for line, picture in zip(lines, PICTURES, strict=True):
        line |= manifest_line(Picture(picture.name, 64, 48, ((1, 0, 0, 9, 9),)), attribute="second")
    write_manifest(tmp_path, lines)
    file = tmp_path / "output.manifest"
    assert refused(capsys, arguments, tmp_path) == [
        f"{file}: has 2 label attributes of type groundtruth/object-detection; those with boxes are 'cells', 'second'. "
        "Say which with --label-attribute."
    ]
    converted(capsys, [*arguments, "--label-attribute", "second"], tmp_path / "new")
    assert read_back(tmp_path / "new")["c.jpg"] == (64, 48, [("dog", 0, 0, 9, 9)])
    assert refused(capsys, [*arguments, "--label-attribute", "third"], tmp_path) == [
        f"{file}: has no label attribute 'third' of type groundtruth/object-detection; those with boxes are 'cells', "
        "'second'. Say which with --label-attribute."
    ]


def test_other_labels_beside_the_boxes_do_not_matter(source, tmp_path, capsys):
    arguments, lines = source
    for line in lines:
        line |= {"kind": 1, "kind-metadata": {"type": "groundtruth/image-classification", "class-map": {"1": "x"}}}
    write_manifest(tmp_path, lines)
    converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_a_manifest_of_another_task_is_refused(source, tmp_path, capsys):
    arguments, lines = source
    for line in lines:
        line["cells-metadata"]["type"] = "groundtruth/semantic-segmentation"
    write_manifest(tmp_path, lines)
    file = tmp_path / "output.manifest"
    assert refused(capsys, arguments, tmp_path) == [
        f"{file}: has no label attribute of type groundtruth/object-detection; the others are 'cells "
        "(groundtruth/semantic-segmentation)'. Draw boxes in a bounding-box job: there is nothing else to learn from."
    ]
    write_manifest(tmp_path, [{"source-ref": "s3://bucket/a.jpg"}])
    assert refused(capsys, arguments, tmp_path) == [
        f"{file}: has no label attribute of type groundtruth/object-detection; no line has a key that ends in "
        '"-metadata", so it is the input of a labelling job. '
        "Give the job's output.manifest, which is in manifests/output/ below its output path."
    ]


VIDEO = (
    "A video job's boxes are in the SeqLabel.json of each sequence, as left, top, width and height. Write them as "
    "COCO, and convert that: convert_dataset.py coco FILE --images DIR."
)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("groundtruth/video-object-detection", VIDEO),
        ("groundtruth/video-object-tracking", VIDEO),
        ("groundtruth/image-classification", "Draw boxes in a bounding-box job: there is nothing else to learn from."),
        (
            "groundtruth/label-verification",
            "A verification has no boxes of its own. Give the output.manifest of the job that drew them.",
        ),
        (
            "groundtruth/custom",
            "The labels of a custom job are as its own function writes them. Write them as COCO, and convert that: "
            "convert_dataset.py coco FILE --images DIR.",
        ),
    ],
)
def test_each_task_without_boxes_is_told_with_the_way_out(source, tmp_path, capsys, kind, advice):
    arguments, _ = source
    write_manifest(tmp_path, [{"source-ref": "s3://bucket/a", "x-ref": "s3://b/c", "x-ref-metadata": {"type": kind}}])
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/output.manifest: has no label attribute of type groundtruth/object-detection; the others are "
        f"'x-ref ({kind})'. {advice}"
    ]


MANIFEST = "Give the job's output.manifest, which is in manifests/output/ below its output path."


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"answers": [{"answerContent": {}}]}, f"is what workers answered, not a manifest. {MANIFEST}"),
        (
            [{"datasetObjectId": "0", "consolidatedAnnotation": {"content": {}}}],
            f"is what workers' answers were merged into, not a manifest. {MANIFEST}",
        ),
        ({"detection-annotations": []}, f"is a SeqLabel.json, not a manifest. {VIDEO}"),
        ({"tracking-annotations": []}, f"is a SeqLabel.json, not a manifest. {VIDEO}"),
        ({"seq-no": 1, "frames": []}, f"is a list of a video's frames, not a manifest. {VIDEO}"),
    ],
)
def test_each_other_file_of_a_labelling_job_is_recognised(source, tmp_path, capsys, content, fault):
    arguments, _ = source
    write_manifest(tmp_path, [content])
    assert refused(capsys, arguments, tmp_path) == [f"{tmp_path}/output.manifest line 1: {fault}"]


def adjusted(lines, numbers):
    """The lines, those of these numbers with labels that a chained job has adjusted: one box of class dog."""
    for number in numbers:
        picture = PICTURES[number]
        more = manifest_line(Picture(picture.name, 64, 48, ((1, 0, 0, 9, 9),)), attribute="better")
        more["better-metadata"]["adjustment-status"] = "adjusted" if number else "unadjusted"
        lines[number] |= more
    return lines


def test_the_labels_of_an_adjustment_job_are_read_and_that_is_told(source, tmp_path, capsys):
    arguments, lines = source
    write_manifest(tmp_path, adjusted(lines, range(3)))
    said = converted(capsys, arguments, tmp_path / "new")
    assert said[3] == "label attributes with boxes that are not read ('cells'; read: 'better'): 1"
    assert {str(boxes) for _, _, boxes in read_back(tmp_path / "new").values()} == {"[('dog', 0, 0, 9, 9)]"}
    converted(capsys, [*arguments, "--label-attribute", "cells"], tmp_path / "first")
    assert read_back(tmp_path / "first") == expected(PICTURES)


def test_lines_that_were_not_adjusted_are_told_and_may_keep_their_labels(source, tmp_path, capsys):
    arguments, lines = source
    write_manifest(tmp_path, adjusted(lines, [1]))
    problems = refused(capsys, arguments, tmp_path)
    assert problems == [
        f"{tmp_path}/output.manifest line {line}: has no label attribute 'better'. It has 'cells': --label-attribute "
        "better cells takes that where there is no better."
        for line in (1, 3)
    ]
    said = converted(capsys, [*arguments, "--label-attribute", "better", "cells", "other"], tmp_path / "new")
    assert said[3] == f"label attributes that {tmp_path}/output.manifest does not have ('other'): 1"
    assert read_back(tmp_path / "new") == expected(PICTURES) | {"b.jpg": (64, 48, [("dog", 0, 0, 9, 9)])}


def test_two_adjustments_are_asked_for(source, tmp_path, capsys):
    arguments, lines = source
    for line in adjusted(lines, range(3)):
        line |= {"best": line["better"], "best-metadata": line["better-metadata"]}
    write_manifest(tmp_path, lines)
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/output.manifest: has 3 label attributes of type groundtruth/object-detection; those with boxes "
        "are 'best', 'better', 'cells'. Say which with --label-attribute."
    ]


def test_what_a_verification_says_is_told_and_changes_nothing(source, tmp_path, capsys):
    arguments, lines = source
    for line, verdict in zip(lines, ("bad", "good", "bad"), strict=True):
        line |= {"seen": "1", "seen-metadata": {"type": "groundtruth/label-verification", "class-name": verdict}}
    write_manifest(tmp_path, lines)
    said = converted(capsys, arguments, tmp_path / "new")
    assert said[3:5] == [
        "lines that the verification 'seen' calls 'bad', which are read like others: 2",
        "lines that the verification 'seen' calls 'good', which are read like others: 1",
    ]
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_lines_that_cannot_be_read_are_told_together(source, tmp_path, capsys):
    arguments, lines = source
    texts = [json.dumps(lines[0]), "", "[1]", '{"source-ref": ', "[" * 100_000]
    edited = [json.loads(json.dumps(lines[0])) for _ in range(7)]
    del edited[0]["cells"], edited[0]["cells-metadata"]
    edited[1]["cells"] = {"annotations": 5}
    del edited[2]["cells"]["image_size"]
    edited[3]["cells"]["image_size"][0]["width"] = 0
    edited[4]["source-ref"] = "https://bucket/a.jpg"
    edited[5]["source-ref"] = "s3://bucket/some/"
    edited[6]["cells-metadata"]["class-map"] = {"zero": "cat"}
    edited[6]["source-ref"] = "s3://bucket/b.jpg"
    (tmp_path / "output.manifest").write_text("\n".join([*texts, *map(json.dumps, edited)]))
    file = tmp_path / "output.manifest"
    example = 'expected [{"width": 640, "height": 480, "depth": 3}]. Correct it there.'
    reference = "expected s3://bucket/key. Correct it there."
    problems = refused(capsys, arguments, tmp_path)
    assert problems == [
        f"{file} line 3: holds [1]. Expected one JSON object a line. Correct it there.",
        f"{file} line 4: is not valid JSON: column 16: Expecting value. Expected one JSON object a line. Correct it "
        "there.",
        f"{file} line 5: is nested too deeply. Expected one JSON object a line. Correct it there.",
        f"{file} line 6: has no label attribute 'cells'. Remove the line or label the image.",
        f'{file} line 7: cells is {{"annotations": 5}}; expected an object with image_size and a list annotations. '
        "Correct it there.",
        f"{file} line 8: cells: image_size is null; {example}",
        f'{file} line 9: cells: image_size is [{{"width": 0, "height": 48, "depth": 3}}]; {example}',
        f'{file} line 10: source-ref is "https://bucket/a.jpg"; {reference}',
        f'{file} line 11: source-ref is "s3://bucket/some/"; {reference}',
        f'{file} line 12 cells-metadata: class-map has "zero": "cat"; expected a number and its name. Correct it.',
    ]


def test_annotations_that_cannot_be_read_are_told_together(source, tmp_path, capsys):
    arguments, lines = source
    good = lines[0]["cells"]["annotations"][0]
    lines[0]["cells"]["annotations"] += [
        5,
        good | {"class_id": "0"},
        good | {"class_id": True},
        good | {"left": None},
        good | {"top": float("nan")},
        good | {"width": 10**400},
        good | {"class_id": 4},
    ]
    lines[1]["cells-metadata"]["class-map"] = {"0": "kitten", "1": " "}
    write_manifest(tmp_path, lines)
    place = f"{tmp_path}/output.manifest line 1 annotations"
    huge = f"1{'0' * 79}..."
    assert refused(capsys, arguments, tmp_path) == [
        f"{place}[1]: is 5; expected an object. Correct it there.",
        f'{place}[2]: class_id is "0"; expected a whole number, 0 or more. Correct it there.',
        f"{place}[3]: class_id is true; expected a whole number, 0 or more. Correct it there.",
        f"{place}[4]: left is null; expected a number of pixels. Correct it there.",
        f"{place}[5]: top is NaN; expected a number of pixels. Correct it there.",
        f"{place}[6]: width is {huge}; expected a number of pixels. Correct it there.",
        f"{tmp_path}/output.manifest line 2 cells-metadata: class 0 is 'kitten', but 'cat' in an earlier line. Use one "
        "name for it.",
        f"{place}[7]: class_id 4 is in no class-map, which have 0, 1. Correct it or add its name to the line's "
        "class-map.",
    ]


def test_an_image_is_the_file_that_shares_most_of_its_path(source, tmp_path, capsys):
    arguments, lines = source
    for number, key in enumerate(["cells/train/x.jpg", "cells/val/x.jpg", "other/y.jpg"]):
        lines[number]["source-ref"] = f"s3://bucket/{key}"
    write_manifest(tmp_path, lines)
    for name in ("train/x.jpg", "cells/val/x.jpg", "renamed/y.jpg"):
        save_image(tmp_path / "pictures" / name, 64, 48)
    converted(capsys, arguments, tmp_path / "new")
    assert [(name, len(boxes)) for name, (_, _, boxes) in read_back(tmp_path / "new").items()] == [
        ("train/x.jpg", 1),
        ("cells/val/x.jpg", 2),
        ("renamed/y.jpg", 0),
    ]


def test_images_that_may_be_two_files_or_none_are_told(source, tmp_path, capsys):
    arguments, lines = source
    (tmp_path / "pictures/b.jpg").unlink()
    for name in ("one/c.jpg", "two/c.jpg"):
        save_image(tmp_path / "pictures" / name, 64, 48)
    (tmp_path / "pictures/c.jpg").unlink()
    lines.append(lines[0])
    write_manifest(tmp_path, lines)
    file, pictures = tmp_path / "output.manifest", tmp_path / "pictures"
    assert refused(capsys, arguments, tmp_path) == [
        f"{file} line 2: 's3://bucket/some/prefix/b.jpg' is not in {pictures}. Add the file or remove its entry.",
        f"{file} line 3: 's3://bucket/some/prefix/c.jpg' may be 'one/c.jpg', 'two/c.jpg' in {pictures}. Give their "
        "folders the names that they have in the bucket.",
        f"{file} line 4: 's3://bucket/some/prefix/a.jpg' would be 'a.jpg', which is the file of {file} line 1 already. "
        "Merge the two, or add the file that is missing.",
    ]


def test_an_empty_manifest_and_a_missing_folder_are_told_together(tmp_path, capsys):
    (tmp_path / "output.manifest").write_text("\n\n")
    arguments = ["ground-truth", str(tmp_path / "output.manifest"), "--images", str(tmp_path / "none")]
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/none: does not exist. Expected the folder with the images.",
        f"{tmp_path}/output.manifest: is empty. Expected one JSON object a line.",
    ]


def test_a_file_whose_name_differs_in_case_alone_is_taken_and_counted(tmp_path, capsys):
    arguments = write_ground_truth(tmp_path)
    (tmp_path / "pictures/a.jpg").rename(tmp_path / "pictures/A.JPG")
    said = converted(capsys, arguments, tmp_path / "new")
    counted = "file names written in other capitals, such as 's3://bucket/some/prefix/a.jpg' for 'A.JPG': 1"
    assert counted in said
    assert "A.JPG" in read_back(tmp_path / "new")
