"""Every format, written by the tests and converted, says what was written: exactly, or to a float's last digits."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_sets import (
    NAMES,
    PICTURES,
    PROGRAM,
    WRITERS,
    Picture,
    converted,
    expected,
    manifest_line,
    read_back,
    refused,
    save_image,
    snapshot,
    voc_xml,
    write_coco,
)

FORMATS = pytest.mark.parametrize("name", WRITERS)
ORDERED = pytest.mark.parametrize("name", [name for name in WRITERS if name != "labelme"])
"""Those whose boxes can be inverted: a rectangle of LabelMe's has two opposite corners, in any order."""
SIZED = [name for name in WRITERS if name != "yolo"]


@FORMATS
def test_every_box_arrives_as_it_was_and_the_source_stays_as_it_was(name, tmp_path, capsys):
    arguments = WRITERS[name](tmp_path / "source")
    before = snapshot(tmp_path / "source")
    converted(capsys, arguments, tmp_path / "job/training")
    assert read_back(tmp_path / "job/training") == expected()
    assert snapshot(tmp_path / "source") == before


@FORMATS
def test_whole_numbers_are_written_as_whole_numbers(name, tmp_path, capsys):
    converted(capsys, WRITERS[name](tmp_path / "source"), tmp_path / "new")
    text = (tmp_path / "new/annotations.json").read_text()
    assert '"bbox":[0,0,64,48]' in text
    assert '"bbox":[10,5,11,6]' in text


@FORMATS
def test_ids_are_the_sources_where_it_has_them_and_else_count_from_0(name, tmp_path, capsys):
    converted(capsys, WRITERS[name](tmp_path / "source"), tmp_path / "new")
    categories = json.loads((tmp_path / "new/annotations.json").read_text())["categories"]
    first, second = (7, 14) if name == "coco" else (0, 1)
    assert categories == [{"id": first, "name": "cat"}, {"id": second, "name": "dog"}]


@FORMATS
def test_images_are_linked_or_on_request_copied(name, tmp_path, capsys):
    arguments = WRITERS[name](tmp_path / "source")
    source = next((tmp_path / "source").rglob("a.jpg"))
    linked = converted(capsys, arguments, tmp_path / "linked")
    assert (tmp_path / "linked/images/a.jpg").samefile(source)
    assert linked[-1] == "images linked to those of the source (hard links): 3"
    copied = converted(capsys, [*arguments, "--copy"], tmp_path / "copied")
    assert not (tmp_path / "copied/images/a.jpg").samefile(source)
    assert (tmp_path / "copied/images/a.jpg").read_bytes() == source.read_bytes()
    assert copied[-1] == "images copied: 3"
    assert read_back(tmp_path / "copied") == expected()


@FORMATS
def test_the_summary_counts_images_boxes_classes_and_negatives(name, tmp_path, capsys):
    said = converted(capsys, WRITERS[name](tmp_path / "source"), tmp_path / "new")
    first, second = (7, 14) if name == "coco" else (0, 1)
    assert said[:3] == [
        f"{tmp_path}/new: 3 images, 3 boxes",
        f"classes: cat (id {first}) 1, dog (id {second}) 2",
        "images without boxes: 1",
    ]
    assert said[3:-1] == (["images without a file of labels, taken as negatives: 1"] if name == "yolo" else [])


WHERE = {
    "coco": "{0}/instances.json annotations[{1}]",
    "voc": "{0}/Annotations/a.xml line {2}",
    "yolo": "{0}/labels/a.txt line {3}",
    "ground-truth": "{0}/output.manifest line 1 annotations[{1}]",
    "label-studio": "{0}/project.json [0] result[{1}]",
    "csv": "{0}/labels.csv line {4}",
}
NUMBERS = {
    "coco": ("x 30, y 5, width -10, height 10", "x 30, y 5, width 0, height 10", "x 30, y 5, width 36, height 10"),
    "voc": (
        "xmin 31, ymin 6, xmax 20, ymax 15",
        "xmin 31, ymin 6, xmax 30, ymax 15",
        "xmin 31, ymin 6, xmax 66, ymax 15",
    ),
    "yolo": (
        "x 0.390625, y 0.208333333333333, width -0.15625, height 0.208333333333333",
        "x 0.46875, y 0.208333333333333, width 0, height 0.208333333333333",
        "x 0.75, y 0.208333333333333, width 0.5625, height 0.208333333333333",
    ),
    "ground-truth": (
        "left 30, top 5, width -10, height 10",
        "left 30, top 5, width 0, height 10",
        "left 30, top 5, width 36, height 10",
    ),
    "label-studio": tuple(
        f"x 46.875, y 10.4166666666667, width {width}, height 20.8333333333333" for width in ("-15.625", "0", "56.25")
    ),
    "csv": tuple(f"xmin 30, ymin 5, xmax {xmax}, ymax 15" for xmax in (20, 30, 66)),
}
EXPECTED = {
    "coco": "expected a width and a height above 0, in pixels, inside the image",
    "voc": "expected xmin <= xmax and ymin <= ymax, in pixels counted from 1, inside the image",
    "yolo": "expected a centre x, y and a width and a height above 0, as shares of the image's, inside the image",
    "ground-truth": "expected a width and a height above 0, in pixels, inside the image",
    "label-studio": "expected a width and a height above 0, in hundredths of the image's, inside the image",
    "csv": "expected xmin < xmax and ymin < ymax, in pixels, inside the image",
}
DIRTY = (
    Picture("a.jpg", 64, 48, ((0, 1, 2, 20, 30), (0, 30, 5, 20, 15), (1, 30, 5, 30, 15), (1, 30, 5, 66, 15))),
    Picture("b.jpg", 64, 48, ((1, 40, 30, 50, 44), (0, 30, 5, 65, 15))),
)
"""Behind a good box one that is inverted, one that is empty and one that reaches out by two pixels; by one is good."""


@ORDERED
def test_invalid_boxes_are_told_all_at_once_by_their_places_in_the_source(name, tmp_path, capsys):
    problems = refused(capsys, WRITERS[name](tmp_path / "source", DIRTY), tmp_path)
    inverted = "is inverted" if name in ("voc", "csv") else "has a negative width or height"
    faults = (inverted, "is empty", "reaches outside its image, which is 64 wide and 48 high")
    for number, (problem, fault) in enumerate(zip(problems, faults, strict=True), 1):
        place = WHERE[name].format(tmp_path / "source", number, 4 + 4 * number, number + 1, number + 2)
        assert problem == (
            f"{place}, image 'a.jpg': the box {NUMBERS[name][number - 1]} {fault}; {EXPECTED[name]}. Correct it, or "
            "leave such boxes out with --invalid-boxes drop."
        )


@ORDERED
def test_invalid_boxes_can_be_left_out_and_are_counted_by_kind(name, tmp_path, capsys):
    arguments = [*WRITERS[name](tmp_path / "source", DIRTY), "--invalid-boxes", "drop"]
    said = converted(capsys, arguments, tmp_path / "new")
    good = (
        Picture("a.jpg", 64, 48, ((0, 1, 2, 20, 30),)),
        Picture("b.jpg", 64, 48, ((1, 40, 30, 50, 44), (0, 30, 5, 65, 15))),
    )
    assert read_back(tmp_path / "new") == expected(good)
    assert re.sub(r" \(id \d+\)", "", said[1]) == "classes: cat 2, dog 1"
    assert said[3:] == [
        "left out, as --invalid-boxes drop asks (boxes outside their image 1, empty boxes 1, inverted boxes 1): 3",
        "boxes that reach outside by a pixel at most, which training clips: 1",
        "images linked to those of the source (hard links): 2",
    ]


@FORMATS
def test_an_image_all_of_whose_boxes_are_left_out_is_a_negative(name, tmp_path, capsys):
    pictures = (DIRTY[1], Picture("c.jpg", 64, 48, ((0, 30, 5, 30, 15),)))
    said = converted(capsys, [*WRITERS[name](tmp_path / "source", pictures), "--invalid-boxes", "drop"], tmp_path / "n")
    assert said[0] == f"{tmp_path}/n: 2 images, 2 boxes"
    assert said[2] == "images without boxes: 1"


@FORMATS
def test_a_data_set_without_a_good_box_is_refused(name, tmp_path, capsys):
    arguments = WRITERS[name](tmp_path / "a", (Picture("c.jpg", 64, 48, ((0, 30, 5, 30, 15),)),))
    assert refused(capsys, [*arguments, "--invalid-boxes", "drop"], tmp_path) == [
        f"{name}: every box (1) was left out. Expected at least one to learn from."
    ]
    if name in ("coco", "voc", "yolo"):  # the others have no class names without boxes
        arguments = WRITERS[name](tmp_path / "b", (Picture("c.jpg", 64, 48),))
        assert refused(capsys, arguments, tmp_path) == [
            f"{name}: there is no box. Expected at least one to learn from."
        ]


@FORMATS
def test_image_files_that_cannot_be_used_are_told_with_what_names_them(name, tmp_path, capsys):
    box = ((0, 1, 2, 20, 30),)
    pictures = tuple(Picture(f"{letter}.jpg", 64, 48, box) for letter in "abc")
    arguments = WRITERS[name](tmp_path, pictures)
    folder = next(tmp_path.rglob("a.jpg")).parent
    (folder / "a.jpg").write_bytes(b"")
    (folder / "b.jpg").write_bytes(b"GIF89a")
    (folder / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    places = {
        "coco": [f"{tmp_path}/instances.json images[{number}]: " for number in range(3)],
        "voc": [f"{tmp_path}/Annotations/{letter}.xml: " for letter in "abc"],
        "yolo": ["", "", ""],
        "ground-truth": [f"{tmp_path}/output.manifest line {number}: " for number in (1, 2, 3)],
        "labelme": [f"{tmp_path}/{letter}.json: " for letter in "abc"],
        "label-studio": [f"{tmp_path}/project.json [{number}]: " for number in range(3)],
        "csv": [f"{tmp_path}/labels.csv line {number}: " for number in (2, 3, 4)],
    }[name]
    assert refused(capsys, arguments, tmp_path) == [
        f"{places[0]}{folder}/a.jpg is an empty file. Upload it again.",
        f"{places[1]}{folder}/b.jpg is a GIF image. Expected a JPEG or PNG image: "
        'convert it, as "magick mogrify -format png FILE" does.',
        f"{places[2]}{folder}/c.jpg is a damaged JPEG file: its header cannot be read. Replace it.",
    ]


ORIENTED = {6: (48, 64), 3: (64, 48)}
"""EXIF orientation -> width and height as displayed, of an image that is stored 64 wide and 48 high."""


def _turn(folder, orientation):
    save_image(next(folder.rglob("a.jpg")), 64, 48, orientation)


@FORMATS
@pytest.mark.parametrize("orientation", ORIENTED)
def test_images_that_exif_turns_are_taken_as_displayed_where_the_size_is_that(name, orientation, tmp_path, capsys):
    width, height = ORIENTED[orientation]
    pictures = (Picture("a.jpg", width, height, ((0, 1, 2, 20, 30),)),)
    arguments = WRITERS[name](tmp_path / "source", pictures)
    _turn(tmp_path / "source", orientation)
    said = converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(pictures)
    assert said[3] == "images that are turned as their EXIF orientation says: 1"


@pytest.mark.parametrize("name", SIZED)
def test_images_that_exif_turns_are_taken_as_stored_where_the_size_is_that(name, tmp_path, capsys):
    pictures = (Picture("a.jpg", 64, 48, ((0, 1, 2, 60, 30),)),)
    arguments = WRITERS[name](tmp_path / "source", pictures)
    _turn(tmp_path / "source", 6)
    said = converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(pictures)
    assert said[3] == "EXIF orientations that are ignored, as the annotated sizes ask: 1"


@pytest.mark.parametrize("name", SIZED)
def test_an_image_of_another_size_is_refused_and_its_boxes_are_not_judged(name, tmp_path, capsys):
    pictures = (Picture("a.jpg", 65, 48, ((0, 1, 2, 20, 30), (0, 9, 9, 500, 20))),)
    arguments = WRITERS[name](tmp_path, pictures)
    _turn(tmp_path, 6)
    path = next(tmp_path.rglob("a.jpg"))
    place = {
        "coco": "instances.json images[0]",
        "voc": "Annotations/a.xml",
        "ground-truth": "output.manifest line 1",
        "labelme": "a.json",
        "label-studio": "project.json [0]",
        "csv": "labels.csv line 2",
    }
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/{place[name]}: {path} is 48 wide and 64 high (turned as its EXIF orientation 6 says), but "
        f"the annotations say 65 and 48, so its boxes would be misplaced. Correct width and height there, or use the "
        f"image that was annotated."
    ]


def test_a_long_list_shows_every_kind_and_sums_up_the_rest(tmp_path, capsys):
    boxes = ((0, 1, 2, 20, 30), *((0, 30, 20, 6600, 2500),) * 300)  # which fit no other convention either
    arguments = write_coco(tmp_path, (Picture("a.jpg", 64, 48, boxes), Picture("b.jpg", 64, 48)))
    (tmp_path / "pictures/b.jpg").unlink()
    lines = refused_text(capsys, arguments, tmp_path)
    assert lines[0] == "DataError: 301 problems:"
    assert len(lines) == 202
    assert lines[1] == (
        f"1. {tmp_path}/instances.json images[1]: {tmp_path}/pictures/b.jpg does not exist. Add the file or remove its "
        "entry."
    )
    assert lines[-1] == "... and 101 more. In all: boxes outside their image 300, missing images 1."


def refused_text(capsys, arguments, folder):
    assert PROGRAM.main([*arguments, "--to", str(folder / "new")]) == 2
    return capsys.readouterr().err.splitlines()


def test_the_same_boxes_come_out_of_every_format(tmp_path, capsys):
    results = []
    for name, write in WRITERS.items():
        converted(capsys, write(tmp_path / name), tmp_path / "new" / name)
        results.append(read_back(tmp_path / "new" / name))
    assert results == [expected()] * len(WRITERS)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_shares_come_back_as_the_pixels_they_were_made_of(width, height, corners):
    import numpy as np

    from sagemaker_object_detection.convert.yolo import NOTATION

    x0, y0, x1, y1 = (round(share * side) for share, side in zip(corners, (width, height) * 2, strict=True))
    numbers = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
    found = NOTATION.to_corners(np.array([numbers]), np.array([[height, width]], np.float64))
    np.testing.assert_allclose(found, [[x0, y0, x1, y1]], rtol=0, atol=1e-11)  # a few units in the last place of 9000
    # Labels are commonly written with six digits: half a unit of the sixth, in the centre and in half of the size.
    rounded = NOTATION.to_corners(np.round([numbers], 6), np.array([[height, width]], np.float64))
    np.testing.assert_allclose(rounded, [[x0, y0, x1, y1]], rtol=0, atol=0.75e-6 * max(width, height) + 1e-9)


@FORMATS
def test_nothing_slow_is_imported(name, tmp_path):
    arguments = WRITERS[name](tmp_path / "source")
    code = (
        "import sys; from written_sets import PROGRAM; "
        "assert PROGRAM.main(sys.argv[1:]) == 0; "
        "print([name for name in ('tensorflow', 'keras', 'boto3') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--to", str(tmp_path / "new")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_the_writers_of_these_tests_write_is_what_the_formats_have():
    """A single pixel in the corner, as each format writes it: the writers above could be wrong the same way."""
    corner = Picture("a.jpg", 10, 20, ((1, 0, 0, 1, 1),))
    assert "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>" in voc_xml(corner)
    assert manifest_line(corner)["cells"]["annotations"] == [
        {"class_id": 1, "left": 0, "top": 0, "width": 1, "height": 1}
    ]
    assert (PICTURES[0].boxes[1], NAMES) == ((1, 10, 5, 11, 6), ("cat", "dog"))
