"""Data sets with one fault each, and such as only look like it: what `check`, or the converter, must say of them.

All are made from the pictures of `sample-data`, whose boxes are right.
"""

import contextlib
import io
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from conftest import write_job
from PIL import Image
from written_sets import PROGRAM, Picture, studio_task, voc_xml, write_json, write_yolo

from sagemaker_object_detection.check import check
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.sample_data import write_sample_data

IMAGES, VALIDATION_IMAGES = 24, 6
REFUSED, TOLD, INNOCENT = "refused", "told", "innocent"
Entry = dict[str, Any]


class Job:
    """A job's folder, whose channels a row changes."""

    def __init__(self, root: Path) -> None:
        self.root, self.training = root, root / "input/data/training"
        self.validation = self.training.with_name("validation")
        self.hyperparameters: dict[str, str] = {"pretrained_weights": "none"}
        self.document: Entry = json.loads((self.training / "annotations.json").read_text())
        self.raw: bytes | None = None
        """What is written instead of the document; none if empty."""
        self.summary = ""
        """What the converter says."""

    @property
    def images(self) -> list[Entry]:
        return self.document["images"]

    @property
    def boxes(self) -> list[Entry]:
        return self.document["annotations"]

    def path(self, image: Entry) -> Path:
        return self.training / "images" / image["file_name"]

    def image(self, box: Entry) -> Entry:
        return self.images[box["image_id"] - 1]

    def rename(self, image: Entry, name: str) -> None:
        self.path(image).rename(self.training / "images" / name)
        image["file_name"] = name

    def copy(self, image: Entry, name: str, *, mirrored: bool = False, quality: int | None = None) -> None:
        """A second image like this one, with its boxes."""
        self.images.append({**image, "file_name": name, "id": len(self.images) + 1})
        if mirrored or quality:
            with Image.open(self.path(image)) as picture:
                seen = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture
                seen.save(self.path(self.images[-1]), quality=quality or 90)
        else:
            shutil.copyfile(self.path(image), self.path(self.images[-1]))
        width = image["width"]
        for box in [box for box in self.boxes if box["image_id"] == image["id"]]:
            xmin, ymin, xmax, ymax = box["bbox"]
            corners = [width - xmax, ymin, width - xmin, ymax] if mirrored else box["bbox"]
            self.boxes.append({**box, "image_id": len(self.images), "bbox": corners})

    def save(self) -> None:
        raw = json.dumps(self.document).encode() if self.raw is None else self.raw
        if raw:
            (self.training / "annotations.json").write_bytes(raw)

    def converted(self, arguments: Sequence[str]) -> None:
        """The channel is what the converter makes of a source. Raises a UserError where it refuses."""
        options = PROGRAM._parser().parse_args([*arguments, "--to", str(self.root / "converted")])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            PROGRAM._convert(options)
        self.summary = said.getvalue()
        shutil.rmtree(self.training)
        shutil.rmtree(self.validation)
        (self.root / "converted").rename(self.training)
        self.raw = b""


Change = Callable[[Job], object]


@dataclass(frozen=True)
class DataSet:
    """change: what makes it of good data; the document is written when it is done. expected: REFUSED, or TOLD where
    the job runs. word: a pattern that one of the sentences has; "" for an INNOCENT one."""

    row: str
    name: str
    change: Change
    expected: str = INNOCENT
    word: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """problems, words: sentences of what is refused, and of what else was said."""

    problems: tuple[str, ...]
    words: tuple[str, ...]
    data_set: DataSet

    @property
    def sentence(self) -> str:
        """The one that was looked for, or else the first."""
        said = (*self.problems, *self.words)
        return next((text for text in said if re.search(self.data_set.word, text)), said[0] if said else "")

    @property
    def is_right(self) -> bool:
        expected, word = self.data_set.expected, self.data_set.word
        if expected == INNOCENT:
            return not self.problems
        said = self.problems if expected == REFUSED else (*self.problems, *self.words)
        return any(re.search(word, text) for text in said)


def judge(data_set: DataSet, sample: Path, root: Path) -> Verdict:
    """Make a data set from sample data, below a folder that is not there yet, and have it checked."""
    shutil.copytree(sample, root / "input/data")
    job = Job(root)
    with _words() as words:
        try:
            data_set.change(job)
        except UserError as error:
            return Verdict(error.problems, (), data_set)
        job.save()
        write_job(root, {**job.hyperparameters, **data_set.values})
        found = check(Paths(root))
    return Verdict(found.problems, (*words, *found.notes, *found.anchors, job.summary), data_set)


def write_sample(folder: Path) -> Path:
    write_sample_data(folder, images=IMAGES, validation_images=VALIDATION_IMAGES)
    return folder


@contextlib.contextmanager
def _words() -> Iterator[list[str]]:
    """What the package logs."""
    words: list[str] = []
    handler, logger = logging.Handler(logging.INFO), logging.getLogger("sagemaker_object_detection")
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield words
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# How boxes are written: what becomes of xmin, ymin, xmax, ymax, and whether in shares.

ORDERS: dict[str, Callable[[float, float, float, float], Sequence[float]]] = {
    "xyxy": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "xywh": lambda x0, y0, x1, y1: (x0, y0, x1 - x0, y1 - y0),
    "cxcywh": lambda x0, y0, x1, y1: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
    "yxyx": lambda x0, y0, x1, y1: (y0, x0, y1, x1),
    "xxyy": lambda x0, y0, x1, y1: (x0, x1, y0, y1),
}


def written(order: str, unit: float | None = None, share: float = 1.0) -> Change:
    """The first `share` of all boxes in another way; unit: what the image's sides are, None: pixels."""

    def change(job: Job) -> None:
        for box in job.boxes[: round(share * len(job.boxes))]:
            image = job.image(box)
            scale = (unit / image["width"], unit / image["height"]) if unit else (1, 1)
            corners = [number * factor for number, factor in zip(box["bbox"], scale * 2, strict=True)]
            box["bbox"] = [round(number, 6) for number in ORDERS[order](*corners)]

    return change


def written_in_images(order: str, unit: float | None = None, every: int = 2) -> Change:
    """The boxes of every second image, or third, in another way."""

    def change(job: Job) -> None:
        chosen = [box for box in job.boxes if box["image_id"] % every == 0]
        kept, job.document["annotations"] = job.boxes, chosen
        written(order, unit)(job)
        job.document["annotations"] = kept

    return change


def of_boxes(make: Callable[[list[float], Entry], Entry]) -> Change:
    """Keys beside each box, made of its corners and its image."""

    def change(job: Job) -> None:
        for box in job.boxes:
            box.update(make(box["bbox"], job.image(box)))

    return change


def outlined(factor: float = 1.0, shares: bool = False) -> Change:
    """A polygon beside each box, that touches its sides if it is drawn at this size; in shares of the image."""

    def polygon(box: list[float], image: Entry) -> Entry:
        x0, y0, x1, y1 = (factor * number for number in box)
        sides = (image["width"], image["height"]) * 4 if shares else (1,) * 8
        points = [x0, (y0 + y1) / 2, (x0 + x1) / 2, y0, x1, (y0 + y1) / 2, (x0 + x1) / 2, y1]
        return {"segmentation": [[number / side for number, side in zip(points, sides, strict=True)]]}

    return of_boxes(polygon)


def measured(factor: float = 1.0) -> Change:
    """The area of each box beside it, times a factor."""
    return of_boxes(lambda box, image: {"area": factor * (box[2] - box[0]) * (box[3] - box[1])})


def resized(factor: float) -> Change:
    """Images are resized, and boxes are not."""

    def change(job: Job, image: Entry) -> None:
        with Image.open(job.path(image)) as picture:
            made = picture.resize((round(picture.width * factor), round(picture.height * factor)))
        made.save(job.path(image))
        image["width"], image["height"] = made.size

    return of_images(change)


def on_canvas(side: float, *, letterboxed: bool = False, border: float = 0.0) -> Change:
    """Boxes of the images as they are in the middle of a square, scaled to it first if letterboxed; or in a border."""

    def change(job: Job) -> None:
        for box in job.boxes:
            sides = job.image(box)["width"], job.image(box)["height"]
            scale = side / max(sides) if letterboxed else 1.0
            padding = [border or (side - length * scale) / 2 for length in sides] * 2
            box["bbox"] = [number * scale + more for number, more in zip(box["bbox"], padding, strict=True)]

    return change


def squared(job: Job) -> None:
    """Every image is a square of 380 pixels."""
    for image in job.images:
        with Image.open(job.path(image)) as picture:
            larger = Image.new("RGB", (380, 380), (90, 90, 90))
            larger.paste(picture)
        image["width"], image["height"] = larger.size
        larger.save(job.path(image), quality=90)


def in_turn(*changes: Change) -> Change:
    def change(job: Job) -> None:
        for each in changes:
            each(job)

    return change


def as_coco(*changes: Change) -> Change:
    """The channel, changed, as COCO, converted."""

    def change(job: Job) -> None:
        in_turn(*changes)(job)
        write_json(job.root / "coco.json", job.document)
        job.converted(["coco", str(job.root / "coco.json"), "--images", str(job.training / "images")])

    return change


def scaled(factor: float) -> Change:
    """Boxes of the images before, or after, they were resized."""

    def change(job: Job) -> None:
        for box in job.boxes:
            box["bbox"] = [factor * number for number in box["bbox"]]

    return change


def beside(share: float = 1.0, **keys: Any) -> Change:
    def change(job: Job) -> None:
        for box in job.boxes[: max(1, round(share * len(job.boxes)))]:
            box.update(keys)

    return change


def of_images(change_one: Callable[[Job, Entry], object], count: int = IMAGES) -> Change:
    def change(job: Job) -> None:
        for image in list(job.images[:count]):
            change_one(job, image)

    return change


def of_categories(change_all: Callable[[list[Entry]], object]) -> Change:
    return alone(lambda job: change_all(job.document["categories"]))


def replaced(content: Callable[[bytes], bytes]) -> Change:
    """annotations.json with other bytes."""

    def change(job: Job) -> None:
        job.raw = content(json.dumps(job.document).encode())

    return change


def other_file(content: Callable[[bytes], bytes]) -> Change:
    """The first image's file has other bytes."""

    def change(job: Job) -> None:
        path = job.path(job.images[0])
        path.write_bytes(content(path.read_bytes()))

    return change


def sides(width: int, height: int) -> Change:
    """What the annotations say of every image's size."""
    return of_images(lambda job, image: image.update(width=width, height=height))


def sides_times(factor: float) -> Change:
    """The annotations say other sizes of the images than the files."""
    return of_images(lambda job, image: image.update({key: round(factor * image[key]) for key in ("width", "height")}))


def extents(width: float, height: float) -> Change:
    """Boxes of this width and height, where the others begin."""
    return lambda job: [
        box.update(bbox=[*box["bbox"][:2], box["bbox"][0] + width, box["bbox"][1] + height]) for box in job.boxes
    ]


def in_first_pixels(every: int) -> Change:
    """The boxes of every second image, or all, lie in its first 90 pixels."""

    def change(job: Job) -> None:
        for number, box in enumerate(job.boxes):
            if box["image_id"] % every == 0:
                x, y = 7 * number % 50, 11 * number % 50
                box["bbox"] = [x, y, x + 20 + number % 20, y + 20 + number % 20]

    return change


def padded(job: Job) -> None:
    """Every image is twice as wide and high, and holds what it held in its upper left quarter."""
    for image in job.images:
        with Image.open(job.path(image)) as picture:
            larger = Image.new("RGB", (2 * picture.width, 2 * picture.height), (90, 90, 90))
            larger.paste(picture)
        image["width"], image["height"] = larger.size
        larger.save(job.path(image), quality=90)


def turned(job: Job) -> None:
    """Every image is stored turned, and its EXIF orientation turns it back."""
    for image in job.images:
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(job.path(image)) as picture:
            picture.transpose(Image.Transpose.ROTATE_90).save(job.path(image), quality=90, exif=exif)


def with_box(box: list[float]) -> Change:
    """One box more, in the first image."""
    return lambda job: job.boxes.append({"image_id": 1, "bbox": box, "category_id": 1})


def renamed(write: Callable[[str], str], *, to: str = "", count: int = IMAGES) -> Change:
    """Names of images are written otherwise.

    Args:
        to: what the files are called first, with {number} in it.
    """

    def change(job: Job, image: Entry) -> None:
        if to:
            job.rename(image, to.format(number=image["id"]))
        image["file_name"] = write(image["file_name"])

    return of_images(change, count)


def copied(name: str, *, mirrored: bool = False, quality: int | None = None) -> Change:
    """Every image a second time, under a name with {stem} and {number} in it."""

    def change(job: Job, image: Entry) -> None:
        stem = Path(image["file_name"]).stem
        job.copy(image, name.format(stem=stem, number=image["id"]), mirrored=mirrored, quality=quality)

    return of_images(change)


def repainted(paint: Callable[[np.ndarray], Image.Image], count: int = IMAGES, suffix: str = ".png") -> Change:
    """The first images are PNG files that a function makes of their pixels, uint8 [H, W, 3]."""

    def change(job: Job) -> None:
        for image in job.images[:count]:
            with Image.open(job.path(image)) as picture:
                painted = paint(np.asarray(picture.convert("RGB")))
            job.rename(image, str(Path(image["file_name"]).with_suffix(suffix)))
            painted.save(job.path(image))

    return change


def grey_16(bits: int) -> Callable[[np.ndarray], Image.Image]:
    return lambda pixels: Image.fromarray((pixels.mean(axis=2) / 255 * (2**bits - 1)).astype(np.uint16))


def with_alpha(alpha: int) -> Callable[[np.ndarray], Image.Image]:
    """Everything to the left of the middle has this alpha."""

    def paint(pixels: np.ndarray) -> Image.Image:
        opacity = np.full(pixels.shape[:2], 255, np.uint8)
        opacity[:, : pixels.shape[1] // 2] = alpha
        return Image.fromarray(np.dstack([pixels, opacity]), "RGBA")

    return paint


def crowded(count: int) -> Change:
    """An image of so many small objects."""

    def change(job: Job) -> None:
        places = [(4 + 12 * (number % 19), 4 + 12 * (number // 19)) for number in range(count)]
        job.boxes.extend({"image_id": 1, "bbox": [x, y, x + 9, y + 9], "category_id": 1} for x, y in places)

    return change


def shared_pictures(count: int) -> Change:
    def change(job: Job) -> None:
        document = json.loads((job.validation / "annotations.json").read_text())
        for image in job.images[:count]:
            shutil.copyfile(job.path(image), job.validation / "images" / f"copy_{image['file_name']}")
            copy = {**image, "file_name": f"copy_{image['file_name']}", "id": len(document["images"]) + 1}
            document["images"].append(copy)
            document["annotations"] += [
                {**box, "image_id": copy["id"]} for box in job.boxes if box["image_id"] == image["id"]
            ]
        write_json(job.validation / "annotations.json", document)

    return change


def alone(change: Change) -> Change:
    """Without a validation channel, so that images are held out."""

    def both(job: Job) -> None:
        shutil.rmtree(job.validation)
        change(job)

    return both


def pictures_of(job: Job, count: int = 6) -> list[Picture]:
    names = {category["id"]: number for number, category in enumerate(job.document["categories"])}
    return [
        Picture(
            image["file_name"],
            image["width"],
            image["height"],
            tuple((names[box["category_id"]], *box["bbox"]) for box in job.boxes if box["image_id"] == image["id"]),
            job.path(image),
        )
        for image in job.images[:count]
    ]


def class_names(job: Job) -> list[str]:
    return [category["name"] for category in job.document["categories"]]


def converted_voc(edit: Callable[[str], str], *options: str) -> Change:
    """Each picture's XML file is edited, and the whole converted."""

    def change(job: Job) -> None:
        source, pictures = job.root / "voc", pictures_of(job)
        for picture in pictures:
            picture.save(source / "JPEGImages")
            path = (source / "Annotations" / picture.name).with_suffix(".xml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(edit(voc_xml(picture, class_names(job))))
        job.converted(["voc", str(source), "--names", ",".join(class_names(job)), *options])

    return change


def converted_yolo(edit: Callable[[str], str], *options: str) -> Change:
    """The first picture's labels are edited, and the whole converted."""

    def change(job: Job) -> None:
        pictures = pictures_of(job)
        arguments = write_yolo(job.root / "yolo", pictures, class_names(job))
        path = (job.root / "yolo/labels" / pictures[0].name).with_suffix(".txt")
        path.write_text(edit(path.read_text()))
        job.converted([*arguments, *options])

    return change


def converted_csv(edit: Callable[[str], str]) -> Change:
    """As Open Images has it, edited and converted."""

    def change(job: Job) -> None:
        lines = ["ImageID,LabelName,XMin,YMin,XMax,YMax,IsGroupOf"]
        for picture in pictures_of(job):
            picture.save(job.root / "pictures")
            sides = picture.width, picture.height, picture.width, picture.height
            for code, *box in picture.boxes:
                shares = ",".join(str(number / side) for number, side in zip(box, sides, strict=True))
                lines.append(f"{Path(picture.name).stem},{class_names(job)[code]},{shares},0")
        (job.root / "boxes.csv").write_text(edit("\n".join(lines)))
        arguments = ["csv", str(job.root / "boxes.csv"), "--images", str(job.root / "pictures")]
        job.converted([*arguments, "--names", ",".join(class_names(job))])

    return change


def converted_coco(*options: str, **keys: Any) -> Change:
    """The channel as COCO with keys beside its boxes, converted."""

    def change(job: Job) -> None:
        written("xywh")(job)
        beside(0.1, **keys)(job)
        write_json(job.root / "coco.json", job.document)
        job.converted(["coco", str(job.root / "coco.json"), "--images", str(job.training / "images"), *options])

    return change


def converted_label_studio(*options: str, image_rotation: int = 0, **value: Any) -> Change:
    def change(job: Job) -> None:
        tasks = [studio_task(picture, class_names(job)) for picture in pictures_of(job)]
        result = tasks[0]["annotations"][0]["result"][0]
        result["image_rotation"] = image_rotation
        result["value"].update(value)
        write_json(job.root / "project.json", tasks)
        arguments = ["label-studio", str(job.root / "project.json"), "--images", str(job.training / "images")]
        job.converted([*arguments, "--names", ",".join(class_names(job)), *options])

    return change


def converted_labelme(shape_type: str, points: list[list[float]], *options: str, stale: bool = False) -> Change:
    def change(job: Job) -> None:
        source, pictures = job.root / "labelme", pictures_of(job)
        for picture, other in zip(pictures, [*pictures[1:], pictures[0]], strict=True):
            picture.save(source)
            shapes = [{"label": class_names(job)[0], "shape_type": shape_type, "points": points}]
            document = {"shapes": shapes, "imagePath": other.name if stale else picture.name}
            write_json((source / picture.name).with_suffix(".json"), document)
        job.converted(["labelme", str(source), "--names", ",".join(class_names(job)), *options])

    return change


def layout(*files: str) -> Change:
    """A channel without annotations.json that holds these files."""

    def change(job: Job) -> None:
        (job.training / "annotations.json").unlink()
        job.raw = b""
        for name in files:
            (job.training / name).parent.mkdir(parents=True, exist_ok=True)
            (job.training / name).write_text("{}")

    return change
