import copy

import pytest
from written_sets import Picture, converted, expected, read_back, refused, studio_task, write_json, write_label_studio

BOX = ((0, 16, 12, 32, 24),)
PICTURES = (Picture("a.jpg", 64, 48, BOX), Picture("b.jpg", 64, 48, ((1, 8, 36, 56, 42), *BOX)))


@pytest.fixture
def source(tmp_path):
    return write_label_studio(tmp_path, PICTURES)


@pytest.fixture
def tasks():
    return [studio_task(picture) for picture in PICTURES]


def results(task):
    return task["annotations"][0]["result"]


def put(tasks, kind, label="cat", **value):
    """Replace the result of the first task."""
    result = results(tasks[0])[0]
    result |= {"type": kind, "value": {**value, kind: [label]}}


def test_a_turned_box_is_refused_or_on_request_the_box_around_it_taken(source, tasks, tmp_path, capsys):
    # 32 wide and 12 high, turned by a quarter about its upper left corner, which is 32, 12.
    put(tasks, "rectanglelabels", x=50, y=25, width=50, height=25, rotation=90)
    write_json(tmp_path / "project.json", tasks)
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/project.json [0] result[0], image 'a.jpg': is a rotated box; expected an upright box. --polygons "
        "enclosing takes the box around each such outline."
    ]
    converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert read_back(tmp_path / "new")["a.jpg"][2] == [("cat", 20, 12, 32, 44)]


def test_other_outlines_are_enclosed(source, tasks, tmp_path, capsys):
    first = results(tasks[0])
    put(tasks, "polygonlabels", points=[[25, 25], [50, 25], [25, 75]])
    ellipse = copy.deepcopy(first[0])
    ellipse |= {"type": "ellipselabels"}
    ellipse["value"] = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0, "ellipselabels": ["dog"]}
    turned = copy.deepcopy(ellipse)
    turned["value"]["rotation"] = 90
    first += [ellipse, turned]
    write_json(tmp_path / "project.json", tasks)
    said = converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert "boxes around outlines, as --polygons enclosing asks (a circle or an ellipse 2, a polygon 1): 3" in said
    assert read_back(tmp_path / "new")["a.jpg"][2] == [
        ("cat", 16, 12, 32, 36),
        ("dog", 16, 12, 48, 36),
        ("dog", 20, 8, 44, 40),
    ]


def test_what_is_no_box_is_left_out_and_counted(source, tasks, tmp_path, capsys):
    results(tasks[0]).append({"type": "choices", "value": {"choices": ["blurred"]}})
    tasks[0]["predictions"] = [{"result": results(tasks[1]), "score": 0.5}]
    tasks.append({"id": 3, "data": {"image": "c.jpg"}, "annotations": []})
    tasks.append({"id": 4, "data": {"image": "c.jpg"}, "annotations": [{"result": [], "was_cancelled": True}]})
    write_json(tmp_path / "project.json", tasks)
    said = converted(capsys, source, tmp_path / "new")
    assert said[3:-1] == [
        "left out, predictions of tasks: 1",
        "left out, results that are no boxes ('choices'): 1",
        "left out, tasks that were skipped or have no annotation: 2",
    ]
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_shapes_get_the_label_of_the_result_with_their_id(source, tasks, tmp_path, capsys):
    result = results(tasks[0])[0]
    value = {key: number for key, number in result["value"].items() if key != "rectanglelabels"}
    shape, label = {**result, "id": "x", "type": "rectangle", "value": value}, {**result, "id": "x", "type": "labels"}
    label["value"] = {**value, "labels": ["cat"]}
    tasks[0]["annotations"][0]["result"] = [shape, label]
    write_json(tmp_path / "project.json", tasks)
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/3/0a1b2c3d-a.jpg",
        "s3://bucket/some/a.jpg",
        "http://host:8080/data/local-files/?d=some%2Fa.jpg",
        "a.jpg",
    ],
)
def test_images_are_found_by_the_end_of_their_address(address, source, tasks, tmp_path, capsys):
    tasks[0]["data"] = {"picture": address, "text": "a caption"}
    write_json(tmp_path / "project.json", tasks)
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_several_annotations_of_a_task_are_refused_unless_one_is_the_truth(source, tasks, tmp_path, capsys):
    other = copy.deepcopy(tasks[0]["annotations"][0])
    other["result"][0]["value"]["x"] = 3
    tasks[0]["annotations"].append(other)
    write_json(tmp_path / "project.json", tasks)
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/project.json [0]: has 2 annotations, of several people or times. Mark the one that counts as "
        "ground truth, or remove the others."
    ]
    tasks[0]["annotations"][0]["ground_truth"] = True
    write_json(tmp_path / "project.json", tasks)
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_an_image_that_was_turned_while_it_was_labelled_is_refused(source, tasks, tmp_path, capsys):
    results(tasks[0])[0]["image_rotation"] = 90
    write_json(tmp_path / "project.json", tasks)
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/project.json [0]: image_rotation is the number 90: the boxes are for the image as it was turned "
        "in Label Studio. Turn the image itself, and set image_rotation to 0."
    ]


def test_what_cannot_be_read_is_told_by_its_place(source, tasks, tmp_path, capsys):
    wrong = [
        {"type": "rectanglelabels", "value": {"x": "1", "y": 2, "width": 3, "height": 4, "rectanglelabels": ["cat"]}},
        {"type": "rectanglelabels", "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": []}},
        {"type": "polygonlabels", "value": {"points": [[1, 2], [3]], "polygonlabels": ["cat"]}},
        {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["cat"]}},
        {"type": ["x"], "value": 3},
    ]
    tasks[0]["annotations"][0]["result"] = wrong
    tasks += [{"data": {"image": 3}, "annotations": [{"result": []}]}, {"data": {}, "annotations": 7}]
    write_json(tmp_path / "project.json", tasks)
    place = f"{tmp_path}/project.json"
    assert refused(capsys, source, tmp_path) == [
        f'{place} [0] result[0]: x is the text "1"; expected a number from 0 to 100. Correct it.',
        f"{place} [0] result[1]: its labels are null; expected a list of one name. Correct it there.",
        f"{place} [0] result[2]: points are a list [[1, 2], [3]]; expected three or more pairs of numbers. Correct it.",
        f"{place} [0] result[3]: is a mask, of which no box can be read. Draw a box, or remove the result.",
        f"{place} [2]: data names no images (none); expected one. Correct it.",
        f"{place} [3]: annotations is the number 7; expected a list of objects. Correct it there.",
    ]
    expects = "Expected the JSON export of Label Studio, a list of tasks (not JSON-MIN): export that."
    for other in ([{"image": "a.jpg", "label": []}], {"images": []}, 3):
        write_json(tmp_path / "project.json", other)
        assert refused(capsys, source, tmp_path)[0] == f"{place}: is something else. {expects}"
