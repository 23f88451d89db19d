"""Data sets in every format whose boxes are written in another way than the format has them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from made_data_sets import IMAGES, ORDERS, Change, Job, class_names, pictures_of
from written_sets import Picture, manifest_line, save_records, studio_task, write_json, write_manifest

Numbers = Sequence[float]
Way = tuple[str, float | None]
"""An order of `ORDERS`, and what the image's sides are; None: as many as pixels."""

OWN_WAYS: dict[str, Way] = {
    "coco": ("xywh", None),
    "voc": ("xyxy", None),
    "yolo": ("cxcywh", 1),
    "ground-truth": ("xywh", None),
    "labelme": ("xyxy", None),
    "label-studio": ("xywh", 100),
    "csv": ("xyxy", None),
    "Open Images": ("xyxy", 1),
    "tfrecord": ("xyxy", 1),
}
"""How each format has its boxes."""


def noted(name: str, way: Way, *, share: float = 1.0, options: Sequence[str] = ()) -> Change:
    """The channel as this format, with boxes in a way, converted. share: of the pictures; the others are as they
    should be."""

    def change(job: Job) -> None:
        pictures = pictures_of(job, IMAGES)
        count = round(share * len(pictures))
        ways = [way if number < count else OWN_WAYS[name] for number in range(len(pictures))]
        boxes = [numbers_of(picture, *each) for picture, each in zip(pictures, ways, strict=True)]
        folder = job.root / "source"
        for picture in pictures:
            picture.save(folder / "images")
        arguments = WRITERS[name](folder, pictures, boxes, class_names(job))
        job.converted([*arguments, *options])

    return change


def manifest_channel(way: Way) -> Change:
    """A channel that holds a manifest."""

    def change(job: Job) -> None:
        pictures = pictures_of(job, IMAGES)
        boxes = [numbers_of(picture, *way) for picture in pictures]
        _ground_truth(job.training, pictures, boxes, class_names(job))
        (job.training / "annotations.json").unlink()
        job.raw = b""

    return change


def numbers_of(picture: Picture, order: str, unit: float | None) -> list[Numbers]:
    scale = (unit / picture.width, unit / picture.height) if unit else (1, 1)
    boxes = ([number * factor for number, factor in zip(box, scale * 2, strict=True)] for _, *box in picture.boxes)
    return [[round(number, 6) for number in ORDERS[order](*box)] for box in boxes]


def _coco(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    images = [
        {"file_name": each.name, "id": number, "width": each.width, "height": each.height}
        for number, each in enumerate(pictures)
    ]
    annotations = [
        {"image_id": number, "category_id": code, "bbox": numbers}
        for number, each in enumerate(pictures)
        for (code, *_), numbers in zip(each.boxes, boxes[number], strict=True)
    ]
    categories = [{"id": code, "name": name} for code, name in enumerate(names)]
    write_json(folder / "instances.json", {"images": images, "annotations": annotations, "categories": categories})
    return ["coco", str(folder / "instances.json"), "--images", str(folder / "images")]


def _voc(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    for picture, written in zip(pictures, boxes, strict=True):
        objects = [
            f"<object><name>{names[code]}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for (code, *_), (a, b, c, d) in zip(picture.boxes, written, strict=True)
        ]
        size = f"<size><width>{picture.width}</width><height>{picture.height}</height></size>"
        text = f"<annotation><filename>{picture.name}</filename>{size}{''.join(objects)}</annotation>"
        _write(folder / "Annotations" / picture.name, ".xml", text)
    return ["voc", str(folder), "--images", str(folder / "images"), "--names", ",".join(names)]


def _yolo(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    for picture, written in zip(pictures, boxes, strict=True):
        lines = [
            " ".join(map(str, (code, *numbers))) for (code, *_), numbers in zip(picture.boxes, written, strict=True)
        ]
        _write(folder / "labels" / picture.name, ".txt", "\n".join(lines))
    return ["yolo", str(folder), "--names", ",".join(names)]


def _ground_truth(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    lines = [manifest_line(picture, names) for picture in pictures]
    for line, written in zip(lines, boxes, strict=True):
        for annotation, numbers in zip(line["cells"]["annotations"], written, strict=True):
            annotation.update(zip(("left", "top", "width", "height"), numbers, strict=True))
    write_manifest(folder, lines)
    return ["ground-truth", str(folder / "output.manifest"), "--images", str(folder / "images")]


def _labelme(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    for picture, written in zip(pictures, boxes, strict=True):
        shapes = [
            {"label": names[code], "shape_type": "rectangle", "points": [numbers[:2], numbers[2:]]}
            for (code, *_), numbers in zip(picture.boxes, written, strict=True)
        ]
        document = {"shapes": shapes, "imagePath": picture.name}
        _write(folder / "images" / picture.name, ".json", json.dumps(document))
    return ["labelme", str(folder / "images"), "--names", ",".join(names)]


def _label_studio(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    tasks = [studio_task(picture, names) for picture in pictures]
    for task, written in zip(tasks, boxes, strict=True):
        for result, numbers in zip(task["annotations"][0]["result"], written, strict=True):
            result["value"].update(zip(("x", "y", "width", "height"), numbers, strict=True))
    write_json(folder / "project.json", tasks)
    return ["label-studio", str(folder / "project.json"), "--images", str(folder / "images"), *_named(names)]


def _csv(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    rows = [
        ",".join(map(str, (picture.name, names[code], *numbers)))
        for picture, written in zip(pictures, boxes, strict=True)
        for (code, *_), numbers in zip(picture.boxes, written, strict=True)
    ]
    return _table(folder, ["filename,class,xmin,ymin,xmax,ymax", *rows], names)


def _open_images(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    rows = [
        ",".join(map(str, (Path(picture.name).stem, names[code], *numbers)))
        for picture, written in zip(pictures, boxes, strict=True)
        for (code, *_), numbers in zip(picture.boxes, written, strict=True)
    ]
    return _table(folder, ["ImageID,LabelName,XMin,YMin,XMax,YMax", *rows], names)


def _table(folder: Path, lines: list[str], names: list[str]) -> list[str]:
    (folder / "boxes.csv").write_text("\n".join(lines))
    return ["csv", str(folder / "boxes.csv"), "--images", str(folder / "images"), *_named(names)]


def _tfrecord(folder: Path, pictures: list[Picture], boxes: list[list[Numbers]], names: list[str]) -> list[str]:
    records = []
    for picture, written in zip(pictures, boxes, strict=True):
        values: dict[str, list[Any]] = {
            "image/encoded": [(folder / "images" / picture.name).read_bytes()],
            "image/filename": [picture.name.encode()],
            "image/object/class/text": [names[code].encode() for code, *_ in picture.boxes],
        }
        columns = zip(*written, strict=True) if written else [()] * 4
        for key, column in zip(("xmin", "ymin", "xmax", "ymax"), columns, strict=True):
            values[f"image/object/bbox/{key}"] = [float(number) for number in column]
        records.append(values)
    save_records(folder / "train.record", records)
    return ["tfrecord", str(folder / "train.record"), *_named(names)]


def _named(names: list[str]) -> list[str]:
    return ["--names", ",".join(names)]


def _write(path: Path, suffix: str, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(suffix).write_text(text)


WRITERS: dict[str, Callable[[Path, list[Picture], list[list[Numbers]], list[str]], list[str]]] = {
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
    "ground-truth": _ground_truth,
    "labelme": _labelme,
    "label-studio": _label_studio,
    "csv": _csv,
    "Open Images": _open_images,
    "tfrecord": _tfrecord,
}
"""Write files of pictures that lie in images/ of a folder; return the program's arguments for them."""
