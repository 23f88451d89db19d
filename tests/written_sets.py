"""Writes the same data set in every format that can be converted, and reads a converted one back."""

import importlib.util
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image

from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_boxes import check_boxes
from sagemaker_object_detection.dataset.check_images import check_images

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("cat", "dog")
Box = tuple[int, float, float, float, float]
"""Class number, xmin, ymin, xmax, ymax: pixels, along the edges."""


@dataclass(frozen=True)
class Picture:
    """An image and its boxes. file: the image, where it is not to be drawn."""

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    file: Path | None = None

    def save(self, folder: Path) -> None:
        path = folder / self.name
        if self.file is None:
            save_image(path, self.width, self.height)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.file, path)


PICTURES = (
    Picture("a.jpg", 64, 48, ((0, 0, 0, 64, 48), (1, 10, 5, 11, 6))),
    Picture("sub/b.png", 33, 57, ((1, 3, 7, 30, 50),)),
    Picture("sub/deeper/c.jpg", 40, 30),
)
"""The whole image, a single pixel, odd sides, folders in folders, and no box at all."""


def program(name: str) -> ModuleType:
    """The module of a program in scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_image(path: Path, width: int, height: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(path, exif=exif)


def write_coco(folder: Path, pictures=PICTURES, names=NAMES, first_id: int = 7) -> list[str]:
    """The data set as COCO; the program's arguments for it. Class ids are 7, 14, ..."""
    images, annotations = [], []
    for number, picture in enumerate(pictures, 100):
        picture.save(folder / "pictures")
        images.append(
            {"file_name": picture.name, "height": picture.height, "width": picture.width, "id": number, "license": 3}
        )
        for code, xmin, ymin, xmax, ymax in picture.boxes:
            annotation = {
                "id": len(annotations),
                "image_id": number,
                "category_id": first_id * (code + 1),
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "area": (xmax - xmin) * (ymax - ymin),
                "segmentation": [[xmin, ymin, xmax, ymin, xmax, ymax]],
                "iscrowd": 0,
            }
            annotations.append(annotation)
    categories = [
        {"id": first_id * (code + 1), "name": name, "supercategory": "animal"} for code, name in enumerate(names)
    ]
    document = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    write_json(folder / "instances.json", document)
    return ["coco", str(folder / "instances.json"), "--images", str(folder / "pictures")]


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def voc_xml(picture: Picture, names=NAMES, extra: str = "") -> str:
    """An annotation file of Pascal VOC, whose objects begin in the lines 4, 8, 12, ..."""
    lines = [
        "<annotation>",
        f"<filename>{escape(picture.name)}</filename>",
        f"<size><width>{picture.width}</width><height>{picture.height}</height><depth>3</depth></size>{extra}",
    ]
    for code, xmin, ymin, xmax, ymax in picture.boxes:
        lines += [
            "<object>",
            f"<name>{escape(names[code])}</name>",
            f"<bndbox><xmin>{xmin + 1}</xmin><ymin>{ymin + 1}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>",
            "</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def write_voc(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as Pascal VOC; the program's arguments for it."""
    for picture in pictures:
        picture.save(folder / "JPEGImages")
        path = (folder / "Annotations" / picture.name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(voc_xml(picture, names), encoding="utf-8")
    return ["voc", str(folder)]


def write_yolo(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as YOLO's; the program's arguments for it. Images without boxes have no label file."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        picture.save(folder / "images")
        lines = [
            f"{code} {(xmin + xmax) / 2 / picture.width} {(ymin + ymax) / 2 / picture.height} "
            f"{(xmax - xmin) / picture.width} {(ymax - ymin) / picture.height}\n"
            for code, xmin, ymin, xmax, ymax in picture.boxes
        ]
        if lines:
            path = (folder / "labels" / picture.name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
    (folder / "data.yaml").write_text(f"train: images\nnc: {len(names)}\nnames: {json.dumps(list(names))}\n")
    return ["yolo", str(folder)]


def manifest_line(picture: Picture, names=NAMES, attribute: str = "cells") -> dict[str, Any]:
    return {
        "source-ref": f"s3://bucket/some/prefix/{picture.name}",
        attribute: {
            "image_size": [{"width": picture.width, "height": picture.height, "depth": 3}],
            "annotations": [
                {"class_id": code, "left": xmin, "top": ymin, "width": xmax - xmin, "height": ymax - ymin}
                for code, xmin, ymin, xmax, ymax in picture.boxes
            ],
        },
        f"{attribute}-metadata": {
            "objects": [{"confidence": 0.9} for _ in picture.boxes],
            "class-map": {str(code): names[code] for code, *_ in picture.boxes},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2020-10-18T22:18:13.527256",
            "job-name": "labeling-job/cells",
        },
    }


def write_ground_truth(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as Ground Truth writes it; the program's arguments for it."""
    for picture in pictures:
        picture.save(folder / "pictures")
    write_manifest(folder, [manifest_line(picture, names) for picture in pictures])
    return ["ground-truth", str(folder / "output.manifest"), "--images", str(folder / "pictures")]


def write_manifest(folder: Path, lines: list[Any]) -> None:
    (folder / "output.manifest").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def write_labelme(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as LabelMe's; the program's arguments for it. A rectangle begins with any of its corners."""
    for picture in pictures:
        picture.save(folder)
        path = (folder / picture.name).with_suffix(".json")
        shapes = [
            {"label": names[code], "points": [[xmax, ymin], [xmin, ymax]], "group_id": None, "shape_type": "rectangle"}
            if xmin < xmax
            else {"label": names[code], "points": [[xmin, ymin], [xmax, ymax]], "shape_type": "rectangle"}
            for code, xmin, ymin, xmax, ymax in picture.boxes
        ]
        document = {"version": "5.5.0", "flags": {}, "shapes": shapes}
        document |= {"imagePath": Path(picture.name).name, "imageData": None}
        write_json(path, document | {"imageHeight": picture.height, "imageWidth": picture.width})
    return ["labelme", str(folder)]


def studio_task(picture: Picture, names=NAMES) -> dict[str, Any]:
    results = [
        {
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": picture.width,
            "original_height": picture.height,
            "image_rotation": 0,
            "value": {
                "x": 100 * xmin / picture.width,
                "y": 100 * ymin / picture.height,
                "width": 100 * (xmax - xmin) / picture.width,
                "height": 100 * (ymax - ymin) / picture.height,
                "rotation": 0,
                "rectanglelabels": [names[code]],
            },
        }
        for code, xmin, ymin, xmax, ymax in picture.boxes
    ]
    address = f"/data/local-files/?d=some/place/{picture.name}"
    return {"id": 1, "data": {"image": address}, "annotations": [{"result": results, "was_cancelled": False}]}


def write_label_studio(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as Label Studio exports it; the program's arguments for it."""
    for picture in pictures:
        picture.save(folder / "pictures")
    write_json(folder / "project.json", [studio_task(picture, names) for picture in pictures])
    return ["label-studio", str(folder / "project.json"), "--images", str(folder / "pictures")]


def write_csv(folder: Path, pictures=PICTURES, names=NAMES) -> list[str]:
    """The data set as a table of TensorFlow's tutorials; the program's arguments for it."""
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for picture in pictures:
        picture.save(folder / "pictures")
        start = f"{picture.name},{picture.width},{picture.height}"
        lines += [f"{start},{names[code]},{','.join(map(str, box))}" for code, *box in picture.boxes]
        if not picture.boxes:
            lines.append(f"{start},,,,,")
    (folder / "labels.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return ["csv", str(folder / "labels.csv"), "--images", str(folder / "pictures")]


def save_records(path: Path, records: list[dict[str, list[Any]]], compression: str = "") -> None:
    """A TFRecord file of tf.train.Examples with these features."""
    import tensorflow as tf  # late, because it takes seconds

    def feature(values: list[Any]) -> Any:
        if all(isinstance(value, int) for value in values):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        if all(isinstance(value, float) for value in values):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            features = tf.train.Features(feature={key: feature(values) for key, values in record.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


WRITERS = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
    "ground-truth": write_ground_truth,
    "labelme": write_labelme,
    "label-studio": write_label_studio,
    "csv": write_csv,
}
"""Those whose images are files."""


def read_back(folder: Path) -> dict[str, tuple[int, int, list[tuple[Any, ...]]]]:
    """What a converted data set says of each image: width, height, boxes with their class's name. Training's own
    checks must have nothing to say about it."""
    table, problems = read_annotations("training", folder)
    images, found = check_images(table)
    boxes, unfit, _ = check_boxes(table, images.sizes, "xyxy", lenient=False)
    assert problems + found + unfit == []
    assert len(boxes.rows) == len(table.bboxes)
    document = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in document["categories"]}
    return {
        image["file_name"]: (
            image["width"],
            image["height"],
            [
                (names[annotation["category_id"]], *annotation["bbox"])
                for annotation in document["annotations"]
                if annotation["image_id"] == image["id"]
            ],
        )
        for image in document["images"]
    }


def expected(pictures=PICTURES, names=NAMES) -> dict[str, tuple[int, int, list[tuple[Any, ...]]]]:
    """What `read_back` returns of pictures that arrived as they were."""
    return {
        picture.name: (picture.width, picture.height, [(names[code], *box) for code, *box in picture.boxes])
        for picture in pictures
    }


def snapshot(folder: Path) -> dict[str, Any]:
    """Every path below the folder, with the content and the mode of files."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode) if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


PROGRAM = program("convert_dataset")


def converted(capsys, arguments: list[str], target: Path) -> list[str]:
    """The lines that a conversion says, which must go well."""
    code = PROGRAM.main([*arguments, "--to", str(target)])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == ["annotations.json", "images"]
    assert not any(path.name.startswith(".") for path in target.parent.iterdir())
    return said.out.splitlines()


def refused(capsys, arguments: list[str], folder: Path) -> list[str]:
    """The problems of a conversion that is refused, without their numbers. In `folder`, where the source lies too,
    nothing may have changed."""
    before = snapshot(folder)
    code = PROGRAM.main([*arguments, "--to", str(folder / "job/training")])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert snapshot(folder) == before
    lines = said.err.splitlines()
    if len(lines) == 1:
        return [lines[0].split(": ", 1)[1]]
    assert lines[0].endswith(f"Error: {len(lines) - 1} problems:")
    problems = []
    for number, line in enumerate(lines[1:], 1):
        assert line.startswith(f"{number}. ")
        problems.append(line.split(". ", 1)[1])
    return problems
