import json

import pytest
from written_sets import Picture, converted, expected, read_back, refused, write_coco, write_json

BOX = ((0, 1, 2, 20, 30),)
PICTURES = (Picture("a.jpg", 64, 48, BOX), Picture("b.jpg", 64, 48, ((1, 5, 40, 60, 44), *BOX)))


@pytest.fixture
def source(tmp_path):
    """The arguments of a small data set, and its document, to be changed and written again."""
    arguments = write_coco(tmp_path, PICTURES)
    return arguments, json.loads((tmp_path / "instances.json").read_text())


CROWD = "regions to ignore, which are neither learned nor counted as mistakes: 1"


def test_crowds_stay_crowds_and_are_counted(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][1]["iscrowd"] = "1"
    document["annotations"][1]["segmentation"] = {"counts": [1, 2], "size": [48, 64]}
    document["annotations"][2]["iscrowd"] = None
    write_json(tmp_path / "instances.json", document)
    said = converted(capsys, arguments, tmp_path / "new")
    assert said[:4] == [
        f"{tmp_path / 'new'}: 2 images, 2 boxes",
        "classes: cat (id 7) 2, dog (id 14) 0",
        "images without boxes: 0",
        CROWD,
    ]
    assert read_back(tmp_path / "new") == expected(PICTURES)
    written = json.loads((tmp_path / "new/annotations.json").read_text())["annotations"]
    assert [entry.get("iscrowd") for entry in written] == [None, 1, None]


def test_other_names_of_a_crowd_are_written_as_one(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][1] |= {"iscrowd": 0, "ignore": 1}
    write_json(tmp_path / "instances.json", document)
    assert converted(capsys, arguments, tmp_path / "new")[3] == CROWD
    assert '"iscrowd":1' in (tmp_path / "new/annotations.json").read_text()


def test_a_data_set_of_crowds_alone_is_refused(source, tmp_path, capsys):
    arguments, document = source
    for entry in document["annotations"]:
        entry["iscrowd"] = 1
    write_json(tmp_path / "instances.json", document)
    assert refused(capsys, arguments, tmp_path) == [
        "coco: there is nothing but regions to ignore (3). Expected at least one to learn from."
    ]


def test_classes_of_one_name_are_refused_as_training_refuses_them(source, tmp_path, capsys):
    arguments, document = source
    document["categories"][0]["name"] = "dog"
    write_json(tmp_path / "instances.json", document)
    assert refused(capsys, arguments, tmp_path) == [
        "coco categories: 7 (2 boxes), 14 (1 boxes) have the same name 'dog'. If they are one class, write one "
        "category_id in all their annotations; else give each a name of its own."
    ]
    document["categories"] = [*document["categories"][1:], {"id": 7, "name": "cat"}, {"id": 0, "name": "cat"}]
    write_json(tmp_path / "instances.json", document)
    assert converted(capsys, arguments, tmp_path / "new")[1] == "classes: dog (id 14) 1, cat (id 7) 2, cat (id 0) 0"


def test_what_is_no_flag_is_refused(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][1]["iscrowd"] = "some"
    document["annotations"][2]["iscrowd"] = 2
    write_json(tmp_path / "instances.json", document)
    file = tmp_path / "instances.json"
    assert refused(capsys, arguments, tmp_path) == [
        f"{file} annotations[{row}], image 'b.jpg': iscrowd is {value}; expected 0 or 1. Correct it in instances.json."
        for row, value in ((1, 'the text "some"'), (2, "the number 2"))
    ]


def test_crowds_are_also_found_in_a_file_that_needs_the_patient_reader(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][0]["image_id"] = 100.0
    document["annotations"][1]["iscrowd"] = 1
    write_json(tmp_path / "instances.json", document)
    assert converted(capsys, arguments, tmp_path / "new")[3] == CROWD


def test_sizes_may_be_missing_and_ids_be_text(source, tmp_path, capsys):
    arguments, document = source
    for image in document["images"]:
        del image["height"], image["width"]
    for entry in document["categories"]:
        entry["id"] = f"c{entry['id']}"
    for entry in document["annotations"]:
        entry["category_id"] = f"c{entry['category_id']}"
    write_json(tmp_path / "instances.json", document)
    assert converted(capsys, arguments, tmp_path / "new")[1] == "classes: cat (id c7) 2, dog (id c14) 1"
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_a_byte_order_mark_does_not_matter(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][1]["iscrowd"] = 1
    (tmp_path / "instances.json").write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    assert converted(capsys, arguments, tmp_path / "new")[3] == CROWD


def test_entries_that_are_wrong_are_told_together_by_their_positions_in_the_file(source, tmp_path, capsys):
    arguments, document = source
    document["images"].append(document["images"][0] | {"file_name": "c.jpg"})
    document["images"] += [{"file_name": "../d.jpg", "id": 8}, {"file_name": "/d.jpg", "id": 9}]
    document["images"] += [{"file_name": "./a.jpg", "id": 10}, {"file_name": "A.JPG", "id": 11}]
    document["categories"].append({"id": 7, "name": "horse"})
    good = document["annotations"][0]
    document["annotations"] += [
        good | {"image_id": 5, "bbox": [0, 0, 500, 1]},
        good | {"category_id": 3},
        good | {"bbox": [1, 2, 3]},
        good | {"bbox": [30, 40, 10, 10]},
        good | {"image_id": 6},
        good | {"category_id": 4},
    ]
    write_json(tmp_path / "instances.json", document)
    file = tmp_path / "instances.json"
    assert refused(capsys, arguments, tmp_path) == [
        f"{file} annotations[5], image 'c.jpg': bbox is a list [1, 2, 3]; expected four finite numbers. Correct it in "
        "instances.json.",
        f"{file} images[2] 'c.jpg': id 100 already belongs to images[0] 'a.jpg'. Give every image an id of its own.",
        f"{file} annotations[3]: image_id 5 is not the id of any image in images. Correct it or remove the annotation.",
        f"{file} annotations[7]: image_id 6 is not the id of any image in images. Correct it or remove the annotation.",
        f"{file} categories: id 7 is both 'cat' and 'horse'. Give every category an id of its own.",
        f"{file} annotations[4], image 'a.jpg': category_id 3 is not among the ids of categories (7, 14). Add it there "
        "or correct it.",
        f"{file} annotations[8], image 'a.jpg': category_id 4 is not among the ids of categories (7, 14). Add it there "
        "or correct it.",
        f"{file} images[5]: {tmp_path}/pictures/a.jpg is the image of {file} images[0] already. Merge the two, or "
        "remove one.",
        f"{file} images[2]: {tmp_path}/pictures/c.jpg does not exist. Add the file or remove its entry.",
        f"{file} images[3]: '../d.jpg' contains \"..\". Expected a path below pictures/.",
        f"{file} images[4]: '/d.jpg' is an absolute path. Expected a path below pictures/.",
        f"{file} images[6]: {tmp_path}/pictures/A.JPG would be 'a.jpg', which is the file of {file} images[0] already. "
        "Merge the two, or add the file that is missing.",
        f"{file} annotations[6], image 'a.jpg': the box x 30, y 40, width 10, height 10 reaches outside its image, "
        "which is 64 wide and 48 high; expected a width and a height above 0, in pixels, inside the image. Correct it, "
        "or leave such boxes out with --invalid-boxes drop.",
    ]


@pytest.mark.parametrize("mode", [[], ["--invalid-boxes", "drop"]])
def test_corner_boxes_are_recognised_and_never_dropped(mode, source, tmp_path, capsys):
    arguments, document = source
    corners = [[1, 2, 20, 30], [5, 40, 60, 44], [50, 2, 60, 30]]
    for annotation, box in zip(document["annotations"], corners, strict=True):
        annotation["bbox"] = box
    write_json(tmp_path / "instances.json", document)
    assert refused(capsys, [*arguments, *mode], tmp_path) == [
        "coco: these boxes look like [xmin, ymin, xmax, ymax] in pixels, but coco has COCO's [xmin, ymin, width, "
        "height] in pixels: 2 of 3 boxes do not fit their images so, none the other way. First: "
        f"{tmp_path}/instances.json annotations[1], image 'b.jpg': the box x 5, y 40, width 60, height 44 would be "
        f"[5, 40, 60, 44]; {tmp_path}/instances.json annotations[2], image 'b.jpg': the box x 50, y 2, width 60, "
        'height 30 would be [50, 2, 60, 30]. Convert it with --bbox-format "xyxy", or correct the boxes in the source.'
    ]
    converted(capsys, [*arguments, *mode, "--bbox-format", "xyxy"], tmp_path / "new")
    written = json.loads((tmp_path / "new/annotations.json").read_text())["annotations"]
    assert [entry["bbox"] for entry in written] == corners


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty. Expected a JSON object with the lists images and annotations."),
        (b"[1]", "holds a list [1]; expected an object with the lists images and annotations."),
        (
            b'{"images": [],\n}',
            "is not valid JSON: line 2, column 1: Expecting property name enclosed in double quotes.",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(content, fault, source, tmp_path, capsys):
    (tmp_path / "instances.json").write_bytes(content)
    (problem,) = refused(capsys, source[0], tmp_path)
    assert problem.startswith(f"{tmp_path}/instances.json: instances.json {fault}")


def test_a_file_without_names_of_classes_is_refused(source, tmp_path, capsys):
    arguments, document = source
    write_json(tmp_path / "instances.json", document | {"categories": []})
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/instances.json: has no categories. Expected a list of them, each with id and name."
    ]


def test_missing_places_are_told_together(tmp_path, capsys):
    (tmp_path / "pictures").write_text("")
    arguments = ["coco", str(tmp_path / "none.json"), "--images", str(tmp_path / "pictures")]
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/none.json: does not exist. Expected a COCO file with the lists images, annotations and "
        "categories.",
        f"{tmp_path}/pictures: is not a folder. Expected the folder of the images.",
    ]


def test_a_missing_folder_of_images_is_one_problem_beside_those_of_the_boxes(source, tmp_path, capsys):
    arguments, document = source
    document["annotations"][0]["bbox"][2] = -5
    document["annotations"][1]["bbox"] = [40, 5, 20, 4]
    write_json(tmp_path / "instances.json", document)
    (tmp_path / "pictures").rename(tmp_path / "images")
    problems = refused(capsys, arguments, tmp_path)
    assert problems[0] == f"{tmp_path}/pictures: does not exist. Expected the folder of the images."
    assert [problem.split(" the box ")[0] for problem in problems[1:]] == [
        f"{tmp_path}/instances.json annotations[0], image 'a.jpg':"
    ]


def test_a_class_has_a_name(source, tmp_path, capsys):
    arguments, document = source
    document["categories"][0]["name"] = ""
    write_json(tmp_path / "instances.json", document)
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/instances.json categories, id 7: the class's name is empty; expected one line of at most 300 "
        "characters. Correct it there."
    ]


def test_a_link_that_leads_nowhere_is_called_so(source, tmp_path, capsys):
    arguments, _ = source
    (tmp_path / "pictures/a.jpg").unlink()
    (tmp_path / "pictures/a.jpg").symlink_to("gone.jpg")
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/instances.json images[0]: {tmp_path}/pictures/a.jpg does not exist. It is a link that leads "
        "nowhere: mend it."
    ]


def test_images_that_are_named_in_another_form_are_found_and_counted(source, tmp_path, capsys):
    arguments, document = source
    document["images"][0]["file_name"] = "C:\\data\\A.JPG"
    document["images"][1]["file_name"] = "sub%2Fb%2Epng"
    write_json(tmp_path / "instances.json", document)
    (tmp_path / "pictures/sub").mkdir()
    (tmp_path / "pictures/b.jpg").rename(tmp_path / "pictures/sub/b.png")
    said = converted(capsys, arguments, tmp_path / "new")
    assert [line for line in said if line.startswith("file names written")] == [
        "file names written as addresses or paths of another place and with backslashes and in other capitals, such as "
        "'C:\\\\data\\\\A.JPG' for 'a.jpg': 1",
        "file names written URL-encoded, such as 'sub%2Fb%2Epng' for 'sub/b.png': 1",
    ]
    assert sorted(read_back(tmp_path / "new")) == ["a.jpg", "sub/b.png"]


def edit(folder, values):
    """Add keys to the first annotation."""
    document = json.loads((folder / "instances.json").read_text())
    document["annotations"][0] |= values
    write_json(folder / "instances.json", document)


TURNED = ({"rotation": 90}, {"attributes": {"occluded": False, "rotation": 90.0}}, {"rotation": -270})


@pytest.mark.parametrize("beside", TURNED)
def test_turned_boxes_are_refused_or_on_request_the_boxes_around_them_taken(beside, tmp_path, capsys):
    arguments = write_coco(tmp_path, (Picture("a.jpg", 64, 48, ((0, 10, 10, 30, 20), (1, 1, 2, 20, 30))),))
    edit(tmp_path, beside)
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/instances.json annotations[0], image 'a.jpg': is a rotated box; expected an upright box. "
        "--polygons enclosing takes the box around each such outline."
    ]
    said = converted(capsys, [*arguments, "--polygons", "enclosing"], tmp_path / "new")
    assert "boxes around outlines, as --polygons enclosing asks (a rotated box 1): 1" in said
    (_, *box), other = read_back(tmp_path / "new")["a.jpg"][2]
    assert box == pytest.approx([15, 5, 25, 25])
    assert other == ("dog", 1, 2, 20, 30)


def test_boxes_that_are_not_turned_are_boxes(tmp_path, capsys):
    arguments = write_coco(tmp_path)
    still = {"attributes": {"rotation": 0.0}, "rotation": 360, "angle": "low", "bbox_mode": 1}
    edit(tmp_path, still)
    converted(capsys, arguments, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected()


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"angle": 0.5}, ": 1 boxes are rotated, as angle says; first: annotations[0] with angle 0.5."),
        ({"attributes": {"theta": 3}}, ": 1 boxes are rotated, as attributes.theta says; first: "),
        (
            {"bbox_mode": 0},
            ": 1 annotations have bbox_mode 0, so boxes are xyxy, and COCO's are xywh; first: annotations[0]. "
            "Convert the boxes, or correct it.",
        ),
    ],
)
def test_turns_in_unknown_units_and_other_notations_are_refused(beside, told, tmp_path, capsys):
    arguments = write_coco(tmp_path)
    edit(tmp_path, beside)
    (problem,) = refused(capsys, [*arguments, "--polygons", "enclosing"], tmp_path)
    assert problem.startswith(f"{tmp_path}/instances.json{told}")


def test_what_images_have_in_common_is_written_too(source, tmp_path, capsys):
    arguments, document = source
    document["images"][0]["video_id"] = 5
    document["images"][1]["group"] = "patient 1"
    write_json(tmp_path / "instances.json", document)
    converted(capsys, arguments, tmp_path / "new")
    written = json.loads((tmp_path / "new/annotations.json").read_text())["images"]
    assert [entry.get("group") for entry in written] == [5, "patient 1"]
    assert all("video_id" not in entry for entry in written)


def test_so_many_invalid_boxes_are_not_left_out(source, tmp_path, capsys):
    arguments, document = source
    good = document["annotations"][0]
    document["annotations"] = [good] * 90 + [{**good, "bbox": [60, 40, 20, 20]}] * 10
    write_json(tmp_path / "instances.json", document)
    problems = refused(capsys, [*arguments, "--invalid-boxes", "drop"], tmp_path / "new")
    assert any("10 of 100 boxes are invalid, which is more than --invalid-boxes drop leaves out" in p for p in problems)
