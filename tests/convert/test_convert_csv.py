import json

import pytest
from written_sets import Picture, converted, expected, read_back, refused, save_image

PICTURES = (Picture("a.jpg", 64, 48, ((0, 16, 12, 32, 24), (1, 0, 0, 64, 48))), Picture("b.jpg", 64, 48))
OPEN_IMAGES = """\
ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
a,xclick,cat,1,0.25,0.5,0.25,0.5,0,0,0,0,0
a,xclick,dog,1,0,1,0,1,0,0,0,0,0
"""
AUTOML = """TRAIN,gs://bucket/some/a.jpg,cat,0.25,0.25,,,0.5,0.5,,
TRAIN,gs://bucket/some/a.jpg,dog,0,0,1,0,1,1,0,1
TRAIN,gs://bucket/some/b.jpg,,,,,,,,,
"""
TUTORIAL = """filename;width;height;class;xmin;ymin;xmax;ymax
a.jpg;64;48;cat;16;12;32;24
a.jpg;64;48;dog;0;0;64;48
b.jpg;64;48;;;;;
"""


@pytest.fixture
def source(tmp_path):
    for picture in PICTURES:
        save_image(tmp_path / "pictures" / picture.name, picture.width, picture.height)

    def write(text):
        (tmp_path / "labels.csv").write_text(text)
        return ["csv", str(tmp_path / "labels.csv"), "--images", str(tmp_path / "pictures")]

    return write


@pytest.mark.parametrize(("text", "count"), [(OPEN_IMAGES, 1), (AUTOML, 2), (TUTORIAL, 2)])
def test_each_way_of_writing_is_known_by_its_columns(text, count, source, tmp_path, capsys):
    converted(capsys, source(text), tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES[:count])


def test_boxes_around_groups_are_regions_to_ignore_and_counted(source, tmp_path, capsys):
    said = converted(capsys, source(OPEN_IMAGES + "a,xclick,dog,1,0,0.5,0,0.5,0,0,1,0,0\n"), tmp_path / "new")
    assert "made regions to ignore, boxes that are marked so (such as IsGroupOf): 1" in said
    entries = json.loads((tmp_path / "new/annotations.json").read_text(encoding="utf-8"))["annotations"]
    assert [entry.get("iscrowd", 0) for entry in entries].count(1) == 1


def test_sets_are_not_mixed(source, tmp_path, capsys):
    arguments = source(AUTOML.replace("TRAIN,gs://bucket/some/b", "TEST,gs://bucket/some/b"))
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/labels.csv: holds the sets 'TEST', 'TRAIN'. Convert each of them by itself, with --split TEST."
    ]
    converted(capsys, [*arguments, "--split", "TRAIN"], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES[:1])
    assert refused(capsys, [*arguments, "--split", "train"], tmp_path) == [
        f"{tmp_path}/labels.csv: has the sets 'TEST', 'TRAIN', and --split is 'train'. Name one that it has."
    ]
    assert refused(capsys, [*source(TUTORIAL), "--split", "train"], tmp_path) == [
        f"{tmp_path}/labels.csv: has no column of sets, and --split is 'train'. Name one that it has."
    ]


def test_four_corners_that_are_no_upright_box_are_an_outline(source, tmp_path, capsys):
    arguments = source("TRAIN,gs://b/a.jpg,cat,0.25,0.5,0.5,0.25,0.75,0.5,0.5,0.75\n")
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/labels.csv line 1, image 'a.jpg': is a polygon; expected an upright box. --polygons enclosing "
        "takes the box around each such outline."
    ]
    converted(capsys, [*arguments, "--polygons", "enclosing"], tmp_path / "new")
    assert read_back(tmp_path / "new")["a.jpg"][2] == [("cat", 16, 12, 48, 36)]


def test_what_cannot_be_read_is_told_by_its_line(source, tmp_path, capsys):
    rows = (
        "a.jpg;64;48;cat;16;12;32",
        "a.jpg;64;48;cat;x;12;32;24",
        "a.jpg;64;48;cat;1;;3;4",
        "a.jpg;6e;48;cat;1;2;3;4",
    )
    place = f"{tmp_path}/labels.csv line"
    assert refused(capsys, source(TUTORIAL + "\n".join(rows)), tmp_path) == [
        f"{place} 5: has 7 values; expected 8, one a column. Correct it there.",
        f"{place} 6: xmin and ymin are 'x' and '12'; expected numbers. Correct it there.",
        f"{place} 7: xmin and ymin are '1' and ''; expected numbers. Correct it there.",
        f"{place} 8: width is '6e'; expected a whole number of pixels. Correct it there.",
    ]


def test_a_size_or_a_unit_that_contradicts_is_told(source, tmp_path, capsys):
    place = f"{tmp_path}/labels.csv line"
    assert refused(capsys, source(f"{TUTORIAL}a.jpg;48;64;cat;1;2;3;4\n"), tmp_path) == [
        f"{place} 5: the size of 'a.jpg' is another than in {place} 2. Correct it there."
    ]
    assert refused(capsys, source("TRAIN,gs://b/a.jpg,cat,16,12,,,32,24,,\n"), tmp_path)[0] == (
        f"{place} 1, image 'a.jpg': the box xmin 16, ymin 12, xmax 32, ymax 24 has numbers that cannot be shares of "
        "the image's width and height; expected xmin < xmax and ymin < ymax, as shares of the image's sides, inside "
        "the image. Correct it, or leave such boxes out with --invalid-boxes drop."
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": is empty. Expected a CSV file, with a row for each box."),
        (
            "a,b\n1,2\n",
            " line 1: the columns are 'a', 'b'; expected imageid, labelname, xmin, ymin, xmax, ymax (Open Images)",
        ),
        (TUTORIAL.replace("width", "class"), " line 1: the column 'class' is there twice. Remove one."),
        (TUTORIAL + '"a', " line 5: is not CSV (unexpected end of data). Correct it there."),
        (TUTORIAL + "x" * 200_000, " line 5: is not CSV (field larger than field limit (131072)). Correct it there."),
    ],
)
def test_a_file_that_is_no_such_table_is_told(text, told, source, tmp_path, capsys):
    assert refused(capsys, source(text), tmp_path)[0].startswith(f"{tmp_path}/labels.csv{told}")


def test_names_give_the_ids(source, tmp_path, capsys):
    said = converted(capsys, [*source(TUTORIAL), "--names", "dog,cat"], tmp_path / "new")
    assert said[1] == "classes: dog (id 0) 1, cat (id 1) 1"
