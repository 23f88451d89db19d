"""Converts a data set in another format into the one that this container, and SageMaker's built-in algorithm, takes.

    convert_dataset.py coco instances_train.json --images train2017 --to job/input/data/training
    convert_dataset.py voc VOC2012 --split ImageSets/Main/train.txt --to job/input/data/training
    convert_dataset.py yolo cells --split train --to job/input/data/training
    convert_dataset.py ground-truth output.manifest --images pictures --to job/input/data/training
    convert_dataset.py labelme shots --to job/input/data/training
    convert_dataset.py label-studio project-1.json --images pictures --to job/input/data/training
    convert_dataset.py csv train_labels.csv --images pictures --to job/input/data/training
    convert_dataset.py tfrecord train.record --to job/input/data/training

The whole source is checked, with every mistake in one list, before anything is written, and is never changed. Exit code
0: done, 2: you can fix it, 3: the machine is at fault (its disk is full), 130: Ctrl-C or SIGTERM (143: SIGTERM before
the writing began); unless it is 0, nothing was written.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from sagemaker_object_detection.convert.boxes import OWN
from sagemaker_object_detection.convert.coco import read_coco
from sagemaker_object_detection.convert.convert import convert
from sagemaker_object_detection.convert.csv_table import read_csv
from sagemaker_object_detection.convert.foreign import ForeignDataSet
from sagemaker_object_detection.convert.ground_truth import read_ground_truth
from sagemaker_object_detection.convert.label_studio import read_label_studio
from sagemaker_object_detection.convert.labelme import read_labelme
from sagemaker_object_detection.convert.pictures import IMAGE_BY
from sagemaker_object_detection.convert.tfrecord import read_tfrecord
from sagemaker_object_detection.convert.voc import read_voc
from sagemaker_object_detection.convert.write import check_target
from sagemaker_object_detection.convert.yolo import read_yolo
from sagemaker_object_detection.files.disk import PLATFORM_ERRNOS, blaming
from sagemaker_object_detection.files.whole import work_folder
from sagemaker_object_detection.guard import run_guarded
from sagemaker_object_detection.hyperparameters.table import BBOX_FORMATS
from sagemaker_object_detection.job.stop import StopSignal


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run_guarded(lambda: _convert(options))


def _convert(options: argparse.Namespace) -> None:
    check_target(options.to)
    data: ForeignDataSet
    with options.read(options) as data:
        choices = {"drop": options.invalid_boxes == "drop", "enclose": options.polygons == "enclosing"}
        bbox_format = getattr(options, "bbox_format", None)  # a manifest's is known
        summary = convert(data, options.to, copy=options.copy, bbox_format=bbox_format, **choices)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of classes that the terminal has no letters for
    try:
        print(summary, flush=True)
    except OSError:  # nobody reads it, or its disk is full: what is done stays done. Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _tfrecord(options: argparse.Namespace) -> Iterator[ForeignDataSet]:
    """While it is entered, the images lie in a folder beside the new one, from which they can be linked."""
    parent = next(folder for folder in options.to.absolute().parents if folder.is_dir())
    advice = "Name a folder in a place that may be written to."
    told = f"--to: {options.to} cannot be written"
    with StopSignal() as stop, contextlib.ExitStack() as stack:
        with blaming(lambda error: f"{told} ({error.strerror}). {advice}", PLATFORM_ERRNOS):
            work = stack.enter_context(work_folder(parent, ".images-"))
            data = read_tfrecord(options.files, options.label_map, options.names, work, stop)
        yield data


def _reader(read: Callable[..., ForeignDataSet], *names: str) -> Callable[[argparse.Namespace], object]:
    """Calls a reader with these options, in their order, and enters what it returns, as `_tfrecord` does."""
    return lambda options: contextlib.nullcontext(read(*(getattr(options, name) for name in names)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Converts a data set into a folder with annotations.json and images/, as training takes it.",
        allow_abbrev=False,
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")

    coco = formats.add_parser("coco", help="COCO instances: a JSON file with [x, y, width, height] boxes")
    coco.add_argument("file", type=Path, metavar="FILE", help="such as instances_train2017.json")
    coco.add_argument("--images", type=Path, required=True, metavar="DIR", help="its file names are relative to this")
    coco.set_defaults(read=_reader(read_coco, "file", "images"))

    pascal = formats.add_parser("voc", help="Pascal VOC: an XML file for each image")
    pascal.add_argument("folder", type=Path, metavar="DIR", help="holds Annotations/ and JPEGImages/")
    pascal.add_argument("--annotations", type=Path, metavar="DIR", help="the XML files (default: DIR/Annotations)")
    pascal.add_argument("--images", type=Path, metavar="DIR", help="the images (default: DIR/JPEGImages)")
    pascal.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="convert only the images named here, one a line, such as ImageSets/Main/train.txt (a path from DIR or "
        "from the current folder)",
    )
    pascal.add_argument(
        "--names",
        metavar="NAMES",
        help="the classes, such as cat,dog; their ids are 0, 1, ... in this order (default: the names in all XML "
        "files, also those outside of the split, in alphabetical order)",
    )
    difficult = pascal.add_mutually_exclusive_group()
    difficult.add_argument(
        "--ignore-difficult",
        dest="difficult",
        action="store_const",
        const="ignore",
        help="make objects marked as difficult regions to ignore, as VOC's own evaluation does",
    )
    difficult.add_argument(
        "--drop-difficult",
        dest="difficult",
        action="store_const",
        const="drop",
        help="leave them out: what is there is then learnt as background",
    )
    pascal.set_defaults(difficult="keep")
    pascal.set_defaults(
        read=_reader(read_voc, "folder", "annotations", "images", "split", "names", "difficult", "image_by")
    )

    darknet = formats.add_parser("yolo", help="YOLO: a text file for each image, with normalised centres and sizes")
    darknet.add_argument("folder", type=Path, metavar="DIR", help="holds images/ and labels/, subfolders included")
    place = darknet.add_mutually_exclusive_group()
    place.add_argument(
        "--split", metavar="NAME", help="convert only images/NAME or NAME/images and the labels/ that belong to it"
    )
    place.add_argument("--images", type=Path, metavar="DIR", help="the images (default: DIR/images)")
    place.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="a text file with the path of an image a line, such as train.txt of Darknet or CVAT (a path from DIR or "
        "from the current folder); labels lie beside the images, or in labels/ as the images do in images/",
    )
    darknet.add_argument(
        "--labels", type=Path, metavar="DIR", help="the text files, in folders as the images are (default: DIR/labels)"
    )
    names = darknet.add_mutually_exclusive_group()
    names.add_argument("--names", metavar="NAMES", help="the classes in the order of their numbers, such as cat,dog")
    names.add_argument(
        "--names-file",
        type=Path,
        metavar="FILE",
        help="a data.yaml, or a text file with one class a line (default: DIR's data.yaml, classes.txt or obj.names)",
    )
    darknet.set_defaults(read=_reader(read_yolo, "folder", "split", "images", "labels", "names", "names_file", "list"))

    manifest = formats.add_parser("ground-truth", help="SageMaker Ground Truth: the manifest of a bounding-box job")
    manifest.add_argument("manifest", type=Path, metavar="FILE", help="output.manifest of the labelling job")
    manifest.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder with copies of the images in S3, found there by their path in the bucket or by their name",
    )
    manifest.add_argument(
        "--label-attribute",
        metavar="NAME",
        nargs="+",
        default=[],
        help="which labels to take, where the manifest holds several; of several names the first that an image has",
    )
    manifest.set_defaults(read=_reader(read_ground_truth, "manifest", "images", "label_attribute"))

    labelme = formats.add_parser("labelme", help="LabelMe: a JSON file for each image, with its shapes")
    labelme.add_argument("folder", type=Path, metavar="DIR", help="holds the JSON files, subfolders included")
    labelme.add_argument("--images", type=Path, metavar="DIR", help="the images (default: beside the JSON files)")
    labelme.set_defaults(read=_reader(read_labelme, "folder", "images", "names", "image_by"))

    studio = formats.add_parser("label-studio", help="Label Studio: its export as JSON")
    studio.add_argument("file", type=Path, metavar="FILE", help="the export")
    studio.set_defaults(read=_reader(read_label_studio, "file", "images", "names"))

    table = formats.add_parser("csv", help="CSV: Open Images, TensorFlow's tutorials, Roboflow or AutoML Vision")
    table.add_argument("file", type=Path, metavar="FILE", help="a table with a row for each box")
    table.add_argument("--split", metavar="NAME", help="convert only the rows of this set, such as TRAIN")
    table.set_defaults(read=_reader(read_csv, "file", "images", "names", "split"))

    records = formats.add_parser("tfrecord", help="TFRecord of the TensorFlow Object Detection API, with its images")
    records.add_argument("files", type=Path, metavar="FILE", nargs="+", help="all of them, if the data is in several")
    records.add_argument("--label-map", type=Path, metavar="FILE", help="label_map.pbtxt, if records have no names")
    records.set_defaults(read=_tfrecord)

    for format_parser in (studio, table):
        format_parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="a folder with the images")
    for format_parser in (pascal, labelme):
        format_parser.add_argument(
            "--image-by",
            choices=IMAGE_BY,
            help="which image a file is for, if it names one, is called like another, and both are there: as its "
            "content or as its name says (default: such files are listed and nothing is written)",
        )
    for format_parser in (labelme, studio, table, records):
        format_parser.add_argument(
            "--names",
            metavar="NAMES",
            help="the classes, such as cat,dog; their ids are 0, 1, ... in this order (default: alphabetical order)",
        )
    for format_parser in (coco, pascal, darknet, labelme, studio, table, records):
        format_parser.add_argument(
            "--bbox-format",
            choices=(OWN, *BBOX_FORMATS),
            metavar="WAY",
            help="how boxes are written that are not written as the format has it, such as xyxy_normalized, by the "
            f"values of the hyperparameter bbox_format; {OWN}: as the format has it, even if they look like something "
            "else (default: as the format has it; boxes that look like something else are refused)",
        )
    for format_parser in (coco, pascal, darknet, manifest, labelme, studio, table, records):
        format_parser.allow_abbrev = False
        format_parser.add_argument(
            "--to", type=Path, required=True, metavar="DIR", help="the folder to write; new, or empty"
        )
        format_parser.add_argument(
            "--copy",
            action="store_true",
            help="copy the images. Without it they are linked where that is possible (hard links): no room is taken, "
            "and who edits an image in one place edits it in both",
        )
        format_parser.add_argument(
            "--invalid-boxes",
            choices=("error", "drop"),
            default="error",
            help="what happens to boxes that are inverted, empty or reach outside their image by more than a pixel: "
            "all are listed and nothing is written (default), or they are left out and counted",
        )
        format_parser.add_argument(
            "--polygons",
            choices=("error", "enclosing"),
            default="error",
            help="what happens to polygons, rotated boxes and other outlines: all are listed and nothing is written "
            "(default), or the upright box around each is taken, and they are counted",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
