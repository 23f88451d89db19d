"""A channel that holds another format is told the converter's command, which takes it as it is."""

import functools
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from written_sets import PROGRAM, WRITERS, Picture, expected, read_back, write_coco, write_yolo

from sagemaker_object_detection.dataset.channel_contents import CONVERTER, missing_annotations

BOX = ((0, 16, 12, 32, 24),)
PICTURES = (Picture("a.jpg", 64, 48, BOX), Picture("b.jpg", 64, 48, ((1, 8, 36, 56, 42), *BOX)))


def write_roboflow_coco(folder):
    write_coco(folder / "made", PICTURES)
    (folder / "made/pictures").rename(folder / "train")
    (folder / "made/instances.json").rename(folder / "train/_annotations.coco.json")
    (folder / "made").rmdir()


def write_coco_download(folder):
    write_coco(folder, PICTURES)
    (folder / "annotations").mkdir()
    (folder / "instances.json").rename(folder / "annotations/instances_train2017.json")


def write_coco_elsewhere(folder):
    write_coco(folder, PICTURES)
    (folder / "instances.json").rename(folder / "result.json")


def write_cvat_yolo(folder, with_list=True):
    write_yolo(folder, PICTURES)
    (folder / "images").rename(folder / "obj_train_data")
    for path in (folder / "labels").iterdir():
        path.rename(folder / "obj_train_data" / path.name)
    (folder / "labels").rmdir()
    (folder / "data.yaml").unlink()
    (folder / "obj.names").write_text("cat\ndog\n")
    (folder / "obj.data").write_text("classes = 2\n")
    if with_list:
        (folder / "train.txt").write_text("data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n")


def write_split_yolo(folder):
    write_yolo(folder, PICTURES)
    (folder / "train").mkdir()
    for kind in ("images", "labels"):
        (folder / kind).rename(folder / "train" / kind)


def write_voc_beside(folder):
    WRITERS["voc"](folder, PICTURES)
    for kind in ("JPEGImages", "Annotations"):
        for path in (folder / kind).iterdir():
            path.rename(folder / path.name)
        (folder / kind).rmdir()


LAYOUTS: dict[str, Callable[[Path], object]] = {
    **{
        name: functools.partial(WRITERS[name], pictures=PICTURES)
        for name in ("voc", "yolo", "labelme", "label-studio", "csv")
    },
    "Roboflow's COCO": write_roboflow_coco,
    "COCO as it is downloaded": write_coco_download,
    "COCO under another name": write_coco_elsewhere,
    "CVAT's YOLO": write_cvat_yolo,
    "CVAT's YOLO without its list": lambda folder: write_cvat_yolo(folder, with_list=False),
    "YOLO with splits": write_split_yolo,
    "XML files beside images": write_voc_beside,
}


def told_command(channel):
    told = missing_annotations("training", channel)
    command = told.partition(f"convert it with {CONVERTER} ")[2]
    assert command.endswith(" --to NEW_FOLDER."), told
    return shlex.split(command.removesuffix(" --to NEW_FOLDER."))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_that_is_told_converts_the_data_set(layout, tmp_path, capsys):
    channel = tmp_path / "a channel"
    LAYOUTS[layout](channel)
    assert PROGRAM.main([*told_command(channel), "--to", str(tmp_path / "new")]) == 0
    found = read_back(tmp_path / "new")
    assert {name.rpartition("/")[2]: row for name, row in found.items()} == expected(PICTURES)


def test_a_tfrecord_is_told_its_command(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training/train.record-00000-of-00001").write_bytes(b"")
    assert told_command(tmp_path / "training") == ["tfrecord", f"{tmp_path}/training/train.record-00000-of-00001"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "train.rec",
            "looks like a file of RecordIO, which is not converted: write its boxes as annotations.json, or ",
        ),
        ("made/by/a.json", "looks like a JSON file, which is not converted: write its boxes as annotations.json, or "),
    ],
)
def test_what_is_not_converted_is_named(path, told, tmp_path):
    (tmp_path / "training" / path).parent.mkdir(parents=True)
    (tmp_path / "training" / path).write_text("{}")
    assert f" {path} {told}" in missing_annotations("training", tmp_path / "training")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("annotations.xml", '<annotations><image id="0" name="a.jpg"></image></annotations>', "CVAT's XML file"),
        ("via.json", '{"_via_settings": {}, "_via_img_metadata": {}}', "VGG Image Annotator's project"),
        ("a.json", '[{"image": "a.jpg", "annotations": [{"label": "a", "coordinates": {}}]}]', "CreateML's JSON file"),
    ],
)
def test_what_another_tool_exports_otherwise_is_named(name, content, what, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / name).write_text(content)
    told = f" {name} looks like {what}, which is not converted: export the labels from there as COCO, and convert that."
    assert missing_annotations("training", tmp_path / "training").endswith(told)
