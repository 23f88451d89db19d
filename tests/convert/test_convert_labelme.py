import json

import pytest
from written_sets import Picture, converted, expected, read_back, refused, save_image, write_json, write_labelme

BOX = ((0, 1, 2, 20, 30),)
PICTURES = (Picture("a.jpg", 64, 48, BOX), Picture("b.jpg", 64, 48, ((1, 5, 40, 60, 44),)))


@pytest.fixture
def source(tmp_path):
    return write_labelme(tmp_path / "set", PICTURES)


def edit(path, **values):
    write_json(path, json.loads(path.read_text()) | values)


def shape(kind, *points, label="cat", **more):
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, **more}


OUTLINES = {
    "a polygon": shape("polygon", (10, 20), (30, 24), (12, 40)),
    "a circle or an ellipse": shape("circle", (20, 30), (20, 40)),
    "a rotated box": shape("rotation", (20, 20), (30, 30), (20, 40), (10, 30)),
    "a mask": shape("mask", (10, 20), (30, 40), mask="iVBORw0KGgo="),
}


@pytest.mark.parametrize("what", OUTLINES)
def test_outlines_are_refused_or_on_request_the_boxes_around_them_taken(what, source, tmp_path, capsys):
    edit(tmp_path / "set/a.json", shapes=[OUTLINES[what]])
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/set/a.json shapes[0], image 'a.jpg': is {what}; expected an upright box. --polygons enclosing "
        "takes the box around each such outline."
    ]
    converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert read_back(tmp_path / "new")["a.jpg"][2] == [("cat", *((10, 20, 30, 40)))]


def test_four_corners_of_an_upright_rectangle_are_one_and_points_and_lines_are_counted(source, tmp_path, capsys):
    shapes = [
        shape("rectangle", (1, 2), (20, 2), (20, 30), (1, 30)),
        shape("point", (3, 4), label="eye"),
        shape("linestrip", (3, 4), (5, 6), (7, 9), label="road"),
    ]
    edit(tmp_path / "set/a.json", shapes=shapes)
    said = converted(capsys, source, tmp_path / "new")
    assert "left out, points and lines, which have no area: 2" in said
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_parts_of_one_object_get_one_box(source, tmp_path, capsys):
    triangles = ((2, 2), (8, 2), (2, 8)), ((40, 40), (44, 40), (40, 44)), ((20, 20), (28, 20), (20, 28))
    groups = (1, 1, None)
    edit(
        tmp_path / "set/a.json",
        shapes=[shape("polygon", *each, group_id=group) for each, group in zip(triangles, groups, strict=True)],
    )
    said = converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert "polygons that are parts of an object, by their group_id: 1" in said
    assert read_back(tmp_path / "new")["a.jpg"][2] == [("cat", 2, 2, 44, 44), ("cat", 20, 20, 28, 28)]


def test_a_stale_name_of_another_image_is_refused(source, tmp_path, capsys):
    edit(tmp_path / "set/a.json", imagePath="b.jpg")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/set/a.json: imagePath is 'b.jpg', but the file is called like 'a.jpg', and both are in "
        f"{tmp_path}/set: it may be either's. Correct it, or say what decides with --image-by content or --image-by "
        "name."
    ]
    converted(capsys, [*source, "--image-by", "name"], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_images_may_lie_elsewhere_and_be_named_as_on_another_machine(source, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        (tmp_path / f"set/{name}.jpg").rename(tmp_path / f"pictures/{name}.jpg")
    edit(tmp_path / "set/a.json", imagePath="..\\pictures\\a.jpg")
    edit(tmp_path / "set/b.json", imagePath="")
    converted(capsys, [*source, "--images", str(tmp_path / "pictures")], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_what_cannot_be_read_is_told_by_its_place(source, tmp_path, capsys):
    shapes = [
        7,
        shape("cuboid", (1, 1), (2, 2)),
        shape("rectangle", (1, 1)),
        shape("rectangle", (1, float("nan")), (3, 3)),
        shape("rectangle", (1, 1), (True, 3)),
        shape("rectangle", (1, 1), (2, 2), label=5),
        shape("rectangle", (1, 1), (2, 2), label="a\nb"),
    ]
    edit(tmp_path / "set/a.json", shapes=shapes, imageWidth="64")
    (tmp_path / "set/b.json").write_text("[" * 100_000)
    (tmp_path / "set/c.json").write_text('{"images": []}')
    file = f"{tmp_path}/set/a.json"
    problems = refused(capsys, source, tmp_path)
    assert [problem.replace(file, "a") for problem in problems] == [
        "a shapes[0]: is the number 7; expected an object.",
        'a shapes[1]: shape_type is the text "cuboid"; expected one of rectangle, polygon, rotation, circle, mask. '
        "Correct it or remove the shape.",
        "a shapes[2]: points are a list [[1, 1]]; expected 2 or more pairs of finite numbers. Correct it there.",
        "a shapes[3]: points are a list [[1, NaN], [3, 3]]; expected 2 or more pairs of finite numbers. Correct it "
        "there.",
        "a shapes[4]: points are a list [[1, 1], [true, 3]]; expected 2 or more pairs of finite numbers. Correct it "
        "there.",
        "a shapes[5]: label is the number 5; expected the name of a class. Correct it there.",
        "a shapes[6]: the class's name is 'a\\nb'; expected one line of at most 300 characters. Correct it there.",
        'a: imageWidth is the text "64"; expected a whole number of pixels. Correct it there.',
        f"{tmp_path}/set/b.json is nested too deeply. Correct it there; expected a JSON file of LabelMe, with the list "
        "shapes.",
        f"{tmp_path}/set/c.json: has no list shapes. Expected a JSON file of LabelMe, with the list shapes: correct "
        "it or remove it.",
    ]


def test_a_folder_without_files_is_refused(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    save_image(tmp_path / "set/a.jpg", 64, 48)
    assert refused(capsys, ["labelme", str(tmp_path / "set")], tmp_path) == [
        f"{tmp_path}/set: holds no .json file. Expected one for each image."
    ]
