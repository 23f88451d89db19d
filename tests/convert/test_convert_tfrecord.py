"""TFRecord files, whose images are inside, and which alone of all formats need TensorFlow to be read."""

import gzip
import os
import signal
import struct

import pytest
import tensorflow as tf
from written_sets import (
    NAMES,
    PICTURES,
    PROGRAM,
    Picture,
    converted,
    expected,
    read_back,
    refused,
    save_image,
    snapshot,
)

from sagemaker_object_detection.convert import tfrecord

FLAT = tuple(Picture(picture.name.rpartition("/")[2], *list(vars(picture).values())[1:4]) for picture in PICTURES)


def feature(values):
    if all(isinstance(value, int) for value in values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if all(isinstance(value, float) for value in values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def example(picture, folder, **changes):
    """A record as the API's own programs make it; a change of None leaves a feature out."""
    path = folder / picture.name
    save_image(path, picture.width, picture.height)
    codes, *corners = zip(*picture.boxes, strict=True) if picture.boxes else [[]] * 5
    sides = picture.width, picture.height, picture.width, picture.height
    values = {
        "image/encoded": [path.read_bytes()],
        "image/filename": [picture.name.encode()],
        "image/height": [picture.height],
        "image/width": [picture.width],
        "image/object/class/text": [NAMES[code].encode() for code in codes],
        "image/object/class/label": [code + 1 for code in codes],
    }
    for key, side, numbers in zip(("xmin", "ymin", "xmax", "ymax"), sides, corners, strict=True):
        values[f"image/object/bbox/{key}"] = [number / side for number in numbers]
    values |= {key.replace("_", "/"): value for key, value in changes.items()}
    features = {key: feature(value) for key, value in values.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture
def write(tmp_path):
    def records(*contents, name="train.record", compression=""):
        with tf.io.TFRecordWriter(str(tmp_path / name), compression) as writer:
            for content in contents:
                writer.write(content)
        return ["tfrecord", str(tmp_path / name)]

    return records


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_images_and_boxes_arrive_and_nothing_else_is_left(compression, write, tmp_path, capsys):
    arguments = write(*(example(each, tmp_path / "made") for each in FLAT), compression=compression)
    said = converted(capsys, arguments, tmp_path / "new")
    assert said[:3] == [
        f"{tmp_path}/new: 3 images, 3 boxes",
        "classes: cat (id 0) 1, dog (id 1) 2",
        "images without boxes: 1",
    ]
    found, wanted = read_back(tmp_path / "new"), expected(FLAT)
    assert found.keys() == wanted.keys()
    for name, (width, height, boxes) in wanted.items():
        assert found[name][:2] == (width, height)
        for (label, *box), (wanted_label, *wanted_box) in zip(found[name][2], boxes, strict=True):
            assert label == wanted_label
            assert box == pytest.approx(wanted_box, abs=4e-6)  # float32: half a unit in the last place of 64 pixels
        assert (tmp_path / "new/images" / name).read_bytes() == (tmp_path / "made" / name).read_bytes()


def test_several_files_are_one_data_set(write, tmp_path, capsys):
    first, second, third = (example(each, tmp_path / "made") for each in FLAT)
    write(first, name="train-00000-of-00002")
    write(second, third, name="train-00001-of-00002")
    files = [str(tmp_path / f"train-0000{number}-of-00002") for number in (0, 1)]
    assert converted(capsys, ["tfrecord", *files], tmp_path / "new")[0] == f"{tmp_path}/new: 3 images, 3 boxes"


def test_groups_are_regions_to_ignore_and_counted(write, tmp_path, capsys):
    record = example(FLAT[0], tmp_path / "made", image_object_group__of=None)
    changed = tf.train.Example.FromString(record)
    changed.features.feature["image/object/group_of"].int64_list.value.extend([1, 0])
    said = converted(capsys, write(changed.SerializeToString()), tmp_path / "new")
    assert said[0] == f"{tmp_path}/new: 1 images, 1 boxes"
    assert "made regions to ignore, boxes around groups (is_crowd, group_of): 1" in said


def test_numbers_get_their_names_from_a_label_map(write, tmp_path, capsys):
    arguments = write(example(FLAT[0], tmp_path / "made", image_object_class_text=None))
    assert refused(capsys, arguments, tmp_path)[0] == (
        f"{tmp_path}/train.record [0] box 0: its class is number 1 and has no name. Give the names with --label-map "
        "FILE."
    )
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text("item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  name: \"dog\"\n  id: 2\n}\n")
    said = converted(capsys, [*arguments, "--label-map", str(label_map)], tmp_path / "new")
    assert said[1] == "classes: cat (id 0) 1, dog (id 1) 1"


def test_a_name_and_a_number_that_contradict_are_refused(write, tmp_path, capsys):
    arguments = write(example(FLAT[0], tmp_path / "made", image_object_class_label=[1, 1]))
    assert refused(capsys, arguments, tmp_path) == [
        f"{tmp_path}/train.record [0] box 1: its class is 'dog' by its name, and number 1, which is 'cat' elsewhere. "
        "Use one name for a number."
    ]


def test_records_that_are_wrong_are_told_by_their_places(write, tmp_path, capsys):
    made, good = tmp_path / "made", FLAT[0]
    arguments = write(
        example(good, made),
        example(good, made),
        example(good, made, image_encoded=None),
        example(good, made, image_filename=[b"c.jpg"], image_object_bbox_xmin=[0.5]),
        example(good, made, image_filename=[b"d.jpg"], image_object_bbox_xmax=[64.0, 11.0]),
        example(good, made, image_filename=[b"e.jpg"], image_object_bbox_xmax=[float("nan"), 1.0]),
        example(good, made, image_filename=[b"\n"]),
        example(good, made, image_filename=[b"f.jpg"], image_width=[65]),
    )
    problems = refused(capsys, arguments, tmp_path)
    place = f"{tmp_path}/train.record"
    assert [problem.removeprefix(place) for problem in problems[:-3]] == [
        f" [1]: its image is called 'a.jpg', as that of {place} [0] is. Give every image a name of its own.",
        " [2]: has no image/encoded; its features are image/filename, image/height, image/object/bbox/xmax, "
        "image/object/bbox/xmin, image/object/bbox/ymax, image/object/bbox/ymin, image/object/class/label, "
        "image/object/class/text. Expected a TFRecord file of the TensorFlow Object Detection API.",
        " [3]: image/object/bbox/xmin has 1 values; expected 2, one for each box. Write the file again.",
        " [5] box 0: its corners are [0.0, 0.0, nan, 1.0]; expected four finite numbers. Write the file again.",
        " [6]: '\\n' is not the name of a file. Expected one in image/filename.",
    ]
    assert problems[-3].startswith(f"{place} [7]: ")
    assert "is 64 wide and 48 high, but the annotations say 65 and 48" in problems[-3]
    assert problems[-2].startswith(f"{place} [4] box 0, image 'd.jpg': the box xmin 0, ymin 0, xmax 64, ymax 1 has ")
    assert "has numbers that cannot be shares of the image's width and height" in problems[-1]


DAMAGE = {
    "no records at all": (b"", ": holds no record."),
    "text": (b"hello\n", " [0]: its length is damaged, or above 1073741824 bytes."),
    "a claim of an exabyte": (struct.pack("<QI", 2**60, 0), " [0]: its length is damaged, or above 1073741824 bytes."),
    "an end within a record": (
        struct.pack("<QI", 99, 0) + b"x",
        " [0]: the file ends within the record. Copy it again.",
    ),
    "wrong checksums": (struct.pack("<QI", 4, 0) + b"abcd" + b"\0" * 4, " [0]: is damaged, or no tf.train.Example ("),
    "half a gzip file": (gzip.compress(b"x" * 9999, mtime=0)[:20], ": cannot be read ("),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_file_that_is_damaged_is_told(what, tmp_path, capsys):
    content, told = DAMAGE[what]
    path = tmp_path / "train.record"
    path.write_bytes(content)
    problems = refused(capsys, ["tfrecord", str(path)], tmp_path)
    assert problems[0].startswith(f"{path}{told}")


def test_a_record_that_is_no_example_is_told(write, tmp_path, capsys):
    problems = refused(capsys, write(b"\xff" * 9), tmp_path)
    assert problems[0].startswith(f"{tmp_path}/train.record [0]: is damaged, or no tf.train.Example (")


def test_a_stop_while_images_are_read_leaves_nothing(write, tmp_path, capsys, monkeypatch):
    arguments = write(*(example(each, tmp_path / "made") for each in FLAT))
    before = snapshot(tmp_path)
    save = tfrecord._save

    def stop(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return save(*given)

    monkeypatch.setattr(tfrecord, "_save", stop)
    assert PROGRAM.main([*arguments, "--to", str(tmp_path / "new")]) == 130
    assert capsys.readouterr().out == ""
    assert snapshot(tmp_path) == before


def test_a_folder_that_may_not_be_written_is_told(write, tmp_path, capsys, monkeypatch):
    arguments = write(example(FLAT[0], tmp_path / "made"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert PROGRAM.main([*arguments, "--to", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        f"UserError: --to: {tmp_path}/new cannot be written (Permission denied). Name a folder in a place that may be "
        "written to.\n"
    )
