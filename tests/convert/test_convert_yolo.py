import pytest
from written_sets import Picture, converted, expected, read_back, refused, save_image, write_yolo

BOX = ((0, 16, 12, 32, 24),)
PICTURES = (
    Picture("a.jpg", 64, 48, BOX),
    Picture("train/b.jpg", 64, 48, ((1, 8, 36, 56, 42), *BOX)),
    Picture("train/c.jpg", 64, 48),
)


@pytest.fixture
def source(tmp_path):
    return write_yolo(tmp_path, PICTURES)


def test_one_split_is_converted_by_naming_its_two_folders(source, tmp_path, capsys):
    places = ["--images", str(tmp_path / "images/train"), "--labels", str(tmp_path / "labels/train")]
    said = converted(capsys, [*source, *places], tmp_path / "new")
    assert said[3] == "images without a file of labels, taken as negatives: 1"
    assert read_back(tmp_path / "new") == expected(
        (Picture("b.jpg", 64, 48, PICTURES[1].boxes), Picture("c.jpg", 64, 48))
    )


def test_a_split_is_converted_by_its_name_in_either_layout(source, tmp_path, capsys):
    pictures = (Picture("b.jpg", 64, 48, PICTURES[1].boxes), Picture("c.jpg", 64, 48))
    converted(capsys, [*source, "--split", "train"], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(pictures)
    (tmp_path / "train").mkdir()
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").rename(tmp_path / "train" / kind)
    converted(capsys, [*source, "--split", "train"], tmp_path / "other")
    assert read_back(tmp_path / "other") == expected(pictures)
    assert refused(capsys, [*source, "--split", "val"], tmp_path) == [
        f"{tmp_path}/images/val: does not exist. Expected the folder of the images."
    ]


def test_splits_are_not_mixed_unless_that_is_asked_for(source, tmp_path, capsys):
    save_image(tmp_path / "images/val/d.jpg", 64, 48)
    how = "Convert each of them by itself, with --split train, or name a folder with --images."
    assert refused(capsys, source, tmp_path) == [f"{tmp_path}: holds train and val. {how}"]
    converted(capsys, [*source, "--images", str(tmp_path / "images")], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected((*PICTURES, Picture("val/d.jpg", 64, 48)))
    for kind in ("images", "labels"):
        (tmp_path / kind).rename(tmp_path / f"all_{kind}")
    (tmp_path / "train/images").mkdir(parents=True)
    assert refused(capsys, source, tmp_path) == [f"{tmp_path}: holds train. {how}"]


def test_labels_may_lie_beside_their_images(source, tmp_path, capsys):
    for path in (tmp_path / "labels").rglob("*.txt"):
        path.rename(tmp_path / "images" / path.relative_to(tmp_path / "labels"))
    converted(capsys, [*source, "--labels", str(tmp_path / "images")], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_an_empty_file_of_labels_is_a_negative_too(source, tmp_path, capsys):
    (tmp_path / "labels/train/c.txt").write_text("\n \n")
    said = converted(capsys, source, tmp_path / "new")
    assert said[2:4] == [
        "images without boxes: 1",
        "images linked to those of the source (hard links): 3",
    ]


def test_lines_that_are_no_boxes_are_told_together(source, tmp_path, capsys):
    lines = [
        "0 0.5 0.5 0.25",
        "0 0.5 0.5 0.25 0.25 0.9",
        "0 0.1 0.1 0.2 0.1 0.2 0.2",
        "0 0.5 nan 0.25 0.25",
        "cat 0.5 0.5 0.25 0.25",
        "0.5 0.5 0.5 0.25 0.25",
        "2 0.5 0.5 0.25 0.25",
        "-1 0.5 0.5 0.25 0.25",
        "0 32 24 16 12",
        "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1",
        "0 1.9 0.5 0.2 0.5",
        "0 2.1 0.5 0.2 0.5",
        "1.0 0.5 0.5 2.5e-1 .25",
    ]
    file = tmp_path / "labels/a.txt"
    file.write_text("\r\n".join(lines))
    known = "Correct it, or add its name to the class names."
    expected = (
        "expected a centre x, y and a width and a height above 0, as shares of the image's, inside the image. Correct "
        "it, or leave such boxes out with --invalid-boxes drop."
    )
    shares = f"has numbers that cannot be shares of the image's width and height; {expected}"
    assert refused(capsys, source, tmp_path) == [
        f"{file} line 1: has 4 values; expected the five of class x y width height. Correct it there.",
        f"{file} line 2: has 6 values; expected the five of class x y width height. It looks like a detection with its "
        "confidence: use annotations.",
        f"{file} line 4: got 'nan'; expected the five numbers of class x y width height. Correct it there.",
        f"{file} line 5: got 'cat'; expected the five numbers of class x y width height. Correct it there.",
        f"{file} line 6: the class is 0.5; expected one of 0, 1. {known}",
        f"{file} line 7: the class is 2; expected one of 0, 1. {known}",
        f"{file} line 8: the class is -1; expected one of 0, 1. {known}",
        f"{file} line 10: has 8 values; expected the five of class x y width height. Correct it there.",
        f"{file} line 3, image 'a.jpg': is a polygon; expected an upright box. --polygons enclosing takes the box "
        "around each such outline.",
        f"{file} line 9, image 'a.jpg': the box x 32, y 24, width 16, height 12 {shares}",
        f"{file} line 11, image 'a.jpg': the box x 1.9, y 0.5, width 0.2, height 0.5 reaches outside its image, which "
        f"is 64 wide and 48 high; {expected}",
        f"{file} line 12, image 'a.jpg': the box x 2.1, y 0.5, width 0.2, height 0.5 {shares}",
    ]


def test_files_that_belong_to_nothing_or_to_two_images_are_told(source, tmp_path, capsys):
    save_image(tmp_path / "images/a.png", 64, 48)
    (tmp_path / "labels/d.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "labels/classes.txt").write_text("cat\ndog\n")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/images/a.png: shares {tmp_path}/labels/a.txt with {tmp_path}/images/a.jpg. Rename one of the "
        "images.",
        f"{tmp_path}/labels/d.txt: there is no image {tmp_path}/images/d.jpg or .png. Add the image or remove the "
        "file.",
    ]


def test_text_that_is_not_utf_8_is_told_by_its_byte(source, tmp_path, capsys):
    (tmp_path / "labels/a.txt").write_bytes(b"0 0.5 \xff")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/labels/a.txt: is not UTF-8 (byte 7). Save it as UTF-8 text."
    ]


@pytest.mark.parametrize("file", ["data.yml", "classes.txt", "obj.names", "labels/classes.txt"])
def test_class_names_are_found_where_they_usually_are(file, source, tmp_path, capsys):
    (tmp_path / "data.yaml").unlink()
    content = "names:\n- kitten\n- puppy\n" if file.endswith(".yml") else "kitten\npuppy\n\n"
    (tmp_path / file).write_text(content)
    assert converted(capsys, source, tmp_path / "new")[1] == "classes: kitten (id 0) 2, puppy (id 1) 1"


def test_class_names_can_be_given_or_their_file_be_named(source, tmp_path, capsys):
    (tmp_path / "my.names").write_text("kitten\npuppy\n")
    given = [["--names", "kitten, puppy"], ["--names-file", str(tmp_path / "my.names")]]
    for number, arguments in enumerate(given):
        said = converted(capsys, [*source, *arguments], tmp_path / f"new{number}")
        assert said[1] == "classes: kitten (id 0) 2, puppy (id 1) 1"


def test_class_names_that_contradict_each_other_are_refused_and_equal_ones_are_not(source, tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    converted(capsys, source, tmp_path / "new")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}: the class names in {tmp_path}/data.yaml and {tmp_path}/classes.txt differ. Say which are right "
        "with --names-file FILE."
    ]


def test_without_class_names_it_says_how_to_give_them_and_checks_the_rest(source, tmp_path, capsys):
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "labels/a.txt").write_text("17 0.5 0.5 0.25 0\n-1 0.5 0.5 0.5 0.5\n")
    places = "data.yaml or data.yml or classes.txt or obj.names or labels/classes.txt"
    problems = refused(capsys, source, tmp_path)
    assert problems[0] == (
        f"{tmp_path}: holds no class names. Expected {places} there; else give --names cat,dog or --names-file FILE."
    )
    assert problems[1] == (
        f"{tmp_path}/labels/a.txt line 2: the class is -1; expected a whole number, 0 or more. Correct it, or add its "
        "name to the class names."
    )
    assert problems[2].startswith(
        f"{tmp_path}/labels/a.txt line 1, image 'a.jpg': the box x 0.5, y 0.5, width 0.25, height 0 is empty; "
    )
    assert len(problems) == 3


def test_missing_folders_are_told(tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("cat\n")
    assert refused(capsys, ["yolo", str(tmp_path)], tmp_path) == [
        f"{tmp_path}/images: does not exist. Expected the folder of the images."
    ]
    (tmp_path / "images").mkdir()
    assert refused(capsys, ["yolo", str(tmp_path)], tmp_path) == [
        f"{tmp_path}/labels: does not exist. Expected the folder of the .txt files, which mirrors that of the images."
    ]
    (tmp_path / "labels").mkdir()
    assert refused(capsys, ["yolo", str(tmp_path)], tmp_path) == [
        "yolo: the data set has no image. Expected at least one."
    ]


def test_links_are_followed_but_not_in_circles_and_arrive_as_files(source, tmp_path, capsys):
    (tmp_path / "images/train").rename(tmp_path / "elsewhere")
    (tmp_path / "images/train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/circle").symlink_to(tmp_path / "images")
    (tmp_path / "images/a.jpg").rename(tmp_path / "original.jpg")
    (tmp_path / "images/a.jpg").symlink_to("../original.jpg")
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)
    assert not any(path.is_symlink() for path in (tmp_path / "new").rglob("*"))


def test_the_ending_of_label_files_may_be_in_capitals(source, tmp_path, capsys):
    (tmp_path / "labels/a.txt").rename(tmp_path / "labels/a.TXT")
    converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)
    (tmp_path / "labels/a.txt").write_text("")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/labels/a.txt: there is {tmp_path}/labels/a.TXT too. Remove one of the two."
    ]


def test_a_file_of_names_among_the_labels_is_none_of_them_however_it_is_written(source, tmp_path, capsys, monkeypatch):
    (tmp_path / "labels/names.txt").write_text("cat\ndog\n")
    monkeypatch.chdir(tmp_path)
    converted(capsys, ["yolo", ".", "--names-file", str(tmp_path / "labels/names.txt")], tmp_path / "new")
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_polygons_become_the_boxes_around_them_on_request(source, tmp_path, capsys):
    (tmp_path / "labels/a.txt").write_text("1 0.25 0.5 0.75 0.25 0.5 0.75\n0 0.1 0.5 0.2 0.5 0.2 0.75 0.1 0.75\n")
    said = converted(capsys, [*source, "--polygons", "enclosing"], tmp_path / "new")
    assert "boxes around outlines, as --polygons enclosing asks (a polygon 2): 2" in said
    boxes = read_back(tmp_path / "new")["a.jpg"][2]
    assert boxes == [("dog", 16, 12, 48, 36), ("cat", pytest.approx(6.4), 24, pytest.approx(12.8), 36)]


def test_keypoints_are_no_polygon(source, tmp_path, capsys):
    """Of a pose, the line is the box, then x, y and visibility of each keypoint."""
    (tmp_path / "labels/a.txt").write_text("0 0.375 0.375 0.25 0.25 0.3 0.3 2 0.4 0.4 0\n")
    how = (
        "Write how many, and the values of each, into data.yaml, such as kpt_shape: [17, 3]; the boxes are then taken."
    )
    assert refused(capsys, [*source, "--polygons", "enclosing"], tmp_path) == [
        f"{tmp_path}/labels/a.txt line 1: has 11 values, which look like a box and keypoints. {how}"
    ]
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 3]\n")
    said = converted(capsys, source, tmp_path / "new")
    assert "boxes whose keypoints are left out: 1" in said
    assert read_back(tmp_path / "new") == expected(PICTURES)


def test_labels_find_their_image_in_another_form_and_similar_names_are_offered(source, tmp_path, capsys):
    decomposed, composed = "cafe\u0301teria", "caf\u00e9teria"
    (tmp_path / "images/a.jpg").rename(tmp_path / f"images/{decomposed}.jpg")
    (tmp_path / "labels/a.txt").rename(tmp_path / f"labels/{composed}.txt")
    said = converted(capsys, source, tmp_path / "new")
    assert read_back(tmp_path / "new")[f"{decomposed}.jpg"] == expected(PICTURES)["a.jpg"]
    how = f"in another Unicode form, such as '{composed}.txt' for '{decomposed}.txt'"
    assert f"names of label files that are written {how}: 1" in said
    (tmp_path / f"labels/{composed}.txt").rename(tmp_path / "labels/cafteria.txt")
    assert refused(capsys, source, tmp_path) == [
        f"{tmp_path}/labels/cafteria.txt: there is no image {tmp_path}/images/cafteria.jpg or .png. Did you mean "
        f"'{decomposed}.jpg'? Add the image or remove the file."
    ]


@pytest.fixture
def darknet(tmp_path):
    """As CVAT exports it: labels beside the images, a list with paths from another place, obj.data and obj.names."""
    write_yolo(tmp_path / "made", PICTURES)
    for kind in ("images", "labels"):
        for path in (tmp_path / "made" / kind).rglob("*.*"):
            target = tmp_path / "set/obj_train_data" / path.relative_to(tmp_path / "made" / kind)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    (tmp_path / "set/obj.names").write_text("cat\ndog\n")
    (tmp_path / "set/obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    (tmp_path / "set/train.txt").write_text("".join(f"data/obj_train_data/{each.name}\n" for each in PICTURES))
    return tmp_path / "set"


def test_a_list_takes_its_images_with_the_labels_beside_them(darknet, tmp_path, capsys):
    said = converted(capsys, ["yolo", str(darknet), "--list", "train.txt"], tmp_path / "new")
    assert read_back(tmp_path / "new") == {f"obj_train_data/{name}": row for name, row in expected(PICTURES).items()}
    assert said[1] == "classes: cat (id 0) 2, dog (id 1) 1"
    (darknet / "train.txt").write_text(
        "data/obj_train_data/train/b.jpg\nobj_train_data/d.jpg\n\n./obj_train_data/a.jpg\n"
    )
    assert refused(capsys, ["yolo", str(darknet), "--list", str(darknet / "train.txt")], tmp_path) == [
        f"{darknet}/train.txt line 2: 'obj_train_data/d.jpg' is not in {darknet}. Add the image or remove the line."
    ]


def test_a_list_takes_labels_from_the_folder_that_mirrors_the_images(tmp_path, capsys):
    source = write_yolo(tmp_path / "set", PICTURES)
    (tmp_path / "set/train.txt").write_text("/datasets/cells/images/train/b.jpg\n./images/train/c.jpg\n")
    converted(capsys, [*source, "--list", "train.txt"], tmp_path / "new")
    assert read_back(tmp_path / "new") == {
        f"images/{each.name}": expected(PICTURES)[each.name] for each in PICTURES[1:]
    }
    (tmp_path / "set/images/train/b.txt").write_text("")
    assert refused(capsys, [*source, "--list", "train.txt"], tmp_path) == [
        f"{tmp_path}/set/images/train/b.jpg: has labels in images/train/b.txt and in labels/train/b.txt. Remove one "
        "of the two."
    ]
