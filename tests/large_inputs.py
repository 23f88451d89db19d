"""Inputs of any size for every reader of what users bring: such as make a careless one take the square of the time.

Each row writes an input of size n into an empty folder, and returns the call that reads it. What comes of it does not
matter, but that it ends in a value or a UserError.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made_channels import picture
from written_sets import Picture, manifest_line

from sagemaker_object_detection.convert.class_names import read_names
from sagemaker_object_detection.convert.coco import read_coco
from sagemaker_object_detection.convert.convert import checked_document
from sagemaker_object_detection.convert.csv_table import read_csv
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.ground_truth import read_ground_truth
from sagemaker_object_detection.convert.label_studio import read_label_studio
from sagemaker_object_detection.convert.labelme import read_labelme
from sagemaker_object_detection.convert.tfrecord import read_tfrecord
from sagemaker_object_detection.convert.voc import read_voc
from sagemaker_object_detection.convert.yolo import NOTATION, read_yolo
from sagemaker_object_detection.dataset.annotation_file import read_annotations
from sagemaker_object_detection.dataset.check_images import check_images
from sagemaker_object_detection.dataset.load import load_splits
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.job.stop import NEVER
from sagemaker_object_detection.weights.archive import unpack

Call = Callable[[], object]
PICTURE = Picture("a.jpg", 64, 48, ((0, 16, 12, 32, 24),))
BOX = {"image_id": 1, "category_id": 1, "bbox": [4, 6, 60, 40]}


@dataclass(frozen=True)
class Large:
    """reader: the row of the table. size: n of the test, at which it takes hundredths of a second; at 4 n the square
    would show. write: takes the folder and n."""

    reader: str
    what: str
    size: int
    write: Callable[[Path, int], Call]


def _channel(folder: Path, *, images: Any = None, boxes: Any = (BOX,), categories: Any = None) -> Path:
    images = [{"id": 1, "file_name": "a.jpg"}] if images is None else images
    content = {"images": images, "annotations": list(boxes)} | ({"categories": categories} if categories else {})
    (folder / "images").mkdir(parents=True)
    picture(64, 48).save(folder / "images/a.jpg")
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def _read(folder: Path, **content: Any) -> Call:
    _channel(folder / "training", **content)

    def call() -> None:
        table, _ = read_annotations("training", folder / "training")
        if table is not None:
            check_images(table)

    return call


def _load(folder: Path, validation: dict[str, Any] | None = None, **content: Any) -> Call:
    training = _channel(folder / "training", **content)
    other = None if validation is None else _channel(folder / "validation", **validation)
    values = read({"validation_split_ratio": "0"})
    return lambda: load_splits(training, other, values)


def _boxes(n: int, **changed: Callable[[int], Any]) -> list[dict[str, Any]]:
    return [BOX | {key: value(number) for key, value in changed.items()} for number in range(n)]


def _categories(n: int, name: Callable[[int], str]) -> list[dict[str, Any]]:
    return [{"id": number, "name": name(number)} for number in range(n)]


def _cases(number: int) -> str:
    """Names of which groups of 1,024 differ in case alone."""
    bits = number % 1024
    return f"{number // 1024} " + "".join("aA"[bits >> place & 1] for place in range(10))


def _text(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _names(name: str, text: Callable[[int], str]) -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        path = _text(folder, name, text(n))
        return lambda: read_names(path, ForeignDataSet("yolo", NOTATION))

    return write


def _yolo(labels: Callable[[int], str], names: Callable[[int], str] = lambda n: "cat") -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        PICTURE.save(folder / "images")
        _text(folder, "labels/a.txt", labels(n))
        _text(folder, "classes.txt", names(n))
        return lambda: checked_document(read_yolo(folder, None, None, None, None, None), drop=False)

    return write


def _voc(body: Callable[[int], str]) -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        PICTURE.save(folder / "JPEGImages")
        _text(folder, "Annotations/a.xml", f"<annotation><filename>a.jpg</filename>{body(n)}</annotation>")
        return lambda: checked_document(read_voc(folder, None, None, None, None, "keep"), drop=False)

    return write


def _config(name: str, content: Callable[[int], str]) -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        _text(folder, f"input/config/{name}", content(n))

        def call() -> None:
            job = read_job(Paths(folder))
            if name == "hyperparameters.json":
                read(job.hyperparameters)

        return call

    return write


def _manifest(line: Callable[[int, int], dict[str, Any]]) -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        lines = "".join(json.dumps(line(number, n)) + "\n" for number in range(n))
        _text(folder, "training/output.manifest", lines)
        return lambda: read_annotations("training", folder / "training")

    return write


def _unknown_class(number: int, n: int) -> dict[str, Any]:
    line = manifest_line(PICTURE)
    line["cells"]["annotations"][0]["class_id"] = n + number
    line["cells-metadata"]["class-map"] = {str(number): f"class {number}"}
    return line


def _long_attribute(number: int, n: int) -> dict[str, Any]:
    return manifest_line(PICTURE, attribute="a" * 40 * n) if number == 0 else {"source-ref": "s3://bucket/a.jpg"}


def _archive(header: Callable[[tarfile.TarInfo, int], bytes], entries: bool) -> Callable[[Path, int], Call]:
    """An archive of n entries, or of one, with what stands before the first."""

    def write(folder: Path, n: int) -> Call:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as opened:
            if records := header(first := tarfile.TarInfo("records"), n):
                first.size = len(records)
                opened.addfile(first, io.BytesIO(records))
            for number in range(n if entries else 1):
                opened.addfile(tarfile.TarInfo(f"{number}"))
        path = folder / "model.tar.gz"
        path.write_bytes(gzip.compress(content.getvalue(), 1))

        def call() -> None:
            with suppress(FileExistsError):
                (folder / "target").mkdir()
            unpack(path, "weights", folder / "target")

        return call

    return write


def _record(key: str, value: str = "v") -> bytes:
    rest = f" {key}={value}\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return f"{length}{rest}".encode()


def _global(entry: tarfile.TarInfo, n: int) -> bytes:
    entry.type = tarfile.XGLTYPE
    return b"".join(_record(f"k{number}") for number in range(n))


def _digits(entry: tarfile.TarInfo, n: int) -> bytes:
    entry.type = tarfile.XHDTYPE
    return b"1" * n


def _table(folder: Path, n: int) -> Call:
    PICTURE.save(folder / "images")
    row = "a.jpg,64,48,cat,x{},2,30,40\n"
    lines = "".join(row.format(number) for number in range(n))
    path = _text(folder, "boxes.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\n{lines}")
    return lambda: checked_document(read_csv(path, folder / "images", None, None), drop=False)


def _labelme(folder: Path, n: int) -> Call:
    PICTURE.save(folder)
    shape = {"label": "cat", "shape_type": "polygon", "group_id": 1, "points": [[1, 2], [3, 4], [5, 3]]}
    _text(folder, "a.json", json.dumps({"imagePath": "a.jpg", "shapes": [shape] * n}))
    return lambda: checked_document(read_labelme(folder, None, None, None), drop=False)


def _studio(folder: Path, n: int) -> Call:
    PICTURE.save(folder / "images")
    results = [
        {"type": f"kind {number}", "value": {}, "original_width": 64 + number, "original_height": 48}
        for number in range(n)
    ]
    tasks = [{"data": {"image": "/a.jpg"}, "annotations": [{"result": results}]}]
    path = _text(folder, "export.json", json.dumps(tasks))
    return lambda: checked_document(read_label_studio(path, folder / "images", None), drop=False)


def _ground_truth(line: Callable[[int, int], dict[str, Any]]) -> Callable[[Path, int], Call]:
    def write(folder: Path, n: int) -> Call:
        PICTURE.save(folder / "images")
        path = _text(folder, "output.manifest", "".join(json.dumps(line(number, n)) + "\n" for number in range(n)))
        return lambda: checked_document(read_ground_truth(path, folder / "images"), drop=False)

    return write


def _tfrecord(records: Callable[[int], int], boxes: Callable[[int], int]) -> Callable[[Path, int], Call]:
    """So many records of an image with so many boxes."""

    def write(folder: Path, n: int) -> Call:
        import tensorflow as tf

        content = io.BytesIO()
        picture(64, 48).save(content, "PNG")
        count = boxes(n)
        feature, features = tf.train.Feature, {}
        for key, numbers in (("xmin", 0.1), ("ymin", 0.2), ("xmax", 0.6), ("ymax", 0.7)):
            features[f"image/object/bbox/{key}"] = feature(float_list=tf.train.FloatList(value=[numbers] * count))
        names = [f"class {number % 7}".encode() for number in range(count)]
        features["image/object/class/text"] = feature(bytes_list=tf.train.BytesList(value=names))
        features["image/encoded"] = feature(bytes_list=tf.train.BytesList(value=[content.getvalue()]))
        with tf.io.TFRecordWriter(str(folder / "train.record")) as writer:
            for number in range(records(n)):
                features["image/filename"] = feature(bytes_list=tf.train.BytesList(value=[f"{number}.png".encode()]))
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
        (folder / "work").mkdir()
        return lambda: checked_document(
            read_tfrecord([folder / "train.record"], None, None, folder / "work", NEVER), drop=False
        )

    return write


def _coco(folder: Path, n: int) -> Call:
    _channel(folder, boxes=_boxes(n, rotation=lambda number: 30), categories=_categories(2, str))
    return lambda: checked_document(read_coco(folder / "annotations.json", folder / "images"), drop=False)


def _coco_images(folder: Path, n: int) -> Call:
    images = [{"id": number, "file_name": f"x{number}.jpg", "width": 64, "height": 48} for number in range(n)]
    _channel(folder, images=images, categories=_categories(2, str))
    return lambda: checked_document(read_coco(folder / "annotations.json", folder / "images"), drop=False)


_OBJECT = "<object><name>cat</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"


def _nothing(entry: tarfile.TarInfo, n: int) -> bytes:
    return b""


LARGE = (
    Large("annotations", "boxes", 8_000, lambda f, n: _read(f, boxes=_boxes(n), categories=_categories(2, str))),
    Large(
        "annotations",
        "boxes of unknown categories and images, in text",
        500,
        lambda f, n: _read(
            f,
            images=[{"id": number, "file_name": "a.jpg"} for number in range(n)],
            boxes=_boxes(n, image_id=lambda number: f"x{number}", category_id=lambda number: f"y{number}"),
            categories=_categories(n, str),
        ),
    ),
    Large("annotations", "boxes that cannot be read", 3_000, lambda f, n: _read(f, boxes=_boxes(n, bbox=lambda _: []))),
    Large(
        "annotations",
        "boxes that are wrong, of an image with a long name",
        1_000,
        lambda f, n: _read(
            f,
            images=[{"id": 1, "file_name": "a" * 100 * n}],
            boxes=_boxes(n, category_id=lambda k: f"y{k}"),
            categories=_categories(1, str),
        ),
    ),
    Large(
        "annotations", "keys of one box", 20_000, lambda f, n: _read(f, boxes=[BOX | {f"k{k}": k for k in range(n)}])
    ),
    Large(
        "images",
        "images that are not there",
        1_000,
        lambda f, n: _read(f, images=[{"id": k, "file_name": f"x{k}.jpg"} for k in range(n)], boxes=_boxes(1)),
    ),
    Large(
        "images",
        "parts of one path",
        40_000,
        lambda f, n: _read(f, images=[{"id": 1, "file_name": "b/" * n + "a.jpg"}]),
    ),
    Large("categories", "of one name", 2_000, lambda f, n: _load(f, categories=_categories(n, lambda _: "cat"))),
    Large("categories", "that differ in case alone", 2_000, lambda f, n: _load(f, categories=_categories(n, _cases))),
    Large(
        "categories",
        "one whose name is a row of accents",
        4_000,
        lambda f, n: _load(f, categories=[{"id": 1, "name": "\u0316\u0301" * n}]),
    ),
    Large(
        "categories",
        "of validation that training has not",
        1_000,
        lambda f, n: _load(
            f,
            validation={"boxes": _boxes(2 * n, category_id=lambda k: 2 + k % n)},
            categories=_categories(n // 2, str),
        ),
    ),
    Large(
        "names", "on one line of YAML", 500, _names("data.yaml", lambda n: f"names: [{', '.join(map(str, range(n)))}]")
    ),
    Large(
        "names",
        "that repeat a long one",
        500,
        _names("data.yaml", lambda n: f"names: [&a {'b' * 100 * n}{', *a' * n}]"),
    ),
    Large("names", "a line each", 10_000, _names("classes.txt", lambda n: "\n".join(map(str, range(n))))),
    Large(
        "YOLO",
        "lines of unknown classes",
        2_000,
        _yolo(lambda n: "0.5 0.5 0.5 0.5 0.5\n" * n, lambda n: "\n".join(map(str, range(n)))),
    ),
    Large("YOLO", "numbers in one line", 5_000, _yolo(lambda n: "0 " + "5 5 " * n)),
    Large("YOLO", "digits of one number", 2_000, _yolo(lambda n: f"0 0.5 0.5 0.5 {'1' * n}x")),
    Large("VOC", "pieces of text between elements", 10_000, _voc(lambda n: "<a/>some text" * n)),
    Large("VOC", "objects without a name", 1_000, _voc(lambda n: "<object><bndbox/></object>" * n)),
    Large("CSV", "rows", 2_000, _table),
    Large("LabelMe", "parts of one object", 2_000, _labelme),
    Large("Label Studio", "results of different kinds and sizes", 2_000, _studio),
    Large("COCO", "boxes that are turned", 2_000, _coco),
    Large("COCO", "images", 1_000, _coco_images),
    Large("Ground Truth", "lines", 500, _ground_truth(lambda number, n: manifest_line(PICTURE))),
    Large("Ground Truth", "lines with unknown classes", 500, _ground_truth(_unknown_class)),
    Large("TFRecord", "records", 60, _tfrecord(lambda n: n, lambda n: 1)),
    Large("TFRecord", "boxes of one image", 2_000, _tfrecord(lambda n: 1, lambda n: n)),
    Large("VOC", "objects", 1_000, _voc(lambda n: _OBJECT * n)),
    Large("manifests", "lines", 1_000, _manifest(lambda number, n: manifest_line(PICTURE))),
    Large("manifests", "lines with unknown classes", 1_000, _manifest(_unknown_class)),
    Large("manifests", "lines without a label attribute of a long name", 1_000, _manifest(_long_attribute)),
    Large("archives", "entries", 250, _archive(_nothing, entries=True)),
    Large("archives", "entries, and as many records for all of them", 500, _archive(_global, entries=True)),
    Large("archives", "digits of a header", 4_000, _archive(_digits, entries=False)),
    Large(
        "hyperparameters",
        "unknown names",
        200,
        _config("hyperparameters.json", lambda n: json.dumps({f"epoch{k}": "1" for k in range(n)})),
    ),
    Large(
        "hyperparameters",
        "digits of one value",
        2_000,
        _config("hyperparameters.json", lambda n: json.dumps({"epochs": "1" * n + "x"})),
    ),
    Large(
        "channels",
        "unknown names",
        2_000,
        _config("inputdataconfig.json", lambda n: json.dumps({f"train{k}": {} for k in range(n)})),
    ),
)


def run(call: Call) -> None:
    """Read, whatever is said of the input."""
    with suppress(UserError):
        call()
