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
    shares = "which cannot be shares of the image's width and height; expected numbers from 0 to 1."
    assert refused(capsys, source, tmp_path) == [
        f"{file} line 1: has 4 values; expected the five of class x y width height. Correct it there.",
        f"{file} line 2: has 6 values; expected the five of class x y width height. It looks like a detection with its "
        "confidence: use annotations.",
        f"{file} line 3: has 7 values; expected the five of class x y width height. It looks like the polygon of a "
        "segmentation, which is not converted: export boxes.",
        f"{file} line 4: got 'nan'; expected the five numbers of class x y width height. Correct it there.",
        f"{file} line 5: got 'cat'; expected the five numbers of class x y width height. Correct it there.",
        f"{file} line 6: the class is 0.5; expected one of 0, 1. {known}",
        f"{file} line 7: the class is 2; expected one of 0, 1. {known}",
        f"{file} line 8: the class is -1; expected one of 0, 1. {known}",
        f"{file} line 9: got 32 24 16 12, {shares} Divide pixels by the image's size.",
        f"{file} line 10: has 8 values; expected the five of class x y width height. Correct it there.",
        f"{file} line 12: got 2.1 0.5 0.2 0.5, {shares} Divide pixels by the image's size.",
        f"{file} line 11, image 'a.jpg': the box x 1.9, y 0.5, width 0.2, height 0.5 reaches outside its image, which "
        "is 64 wide and 48 high; expected a centre x, y and a width and a height above 0, as shares of the image's, "
        "inside the image. Correct it, or leave such boxes out with --invalid-boxes drop.",
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
