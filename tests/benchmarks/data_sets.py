"""Prints what `check` and the converter say of data sets with one fault each, and of innocent ones that look like it:

    .venv/bin/python tests/benchmarks/data_sets.py

Exit code 1: a fault passed without a word, or an innocent data set was refused.
"""

import base64
import gzip
import json
import re
import sys
import tempfile
import unicodedata
from pathlib import Path
from urllib.parse import quote

sys.path.append(str(Path(__file__).resolve().parents[1]))

from made_data_sets import (
    INNOCENT,
    ORDERS,
    REFUSED,
    TOLD,
    DataSet,
    Job,
    Verdict,
    alone,
    as_coco,
    beside,
    converted_coco,
    converted_csv,
    converted_label_studio,
    converted_labelme,
    converted_voc,
    converted_yolo,
    copied,
    crowded,
    extents,
    grey_16,
    in_first_pixels,
    in_turn,
    judge,
    layout,
    measured,
    of_categories,
    of_images,
    on_canvas,
    other_file,
    outlined,
    padded,
    renamed,
    repainted,
    replaced,
    resized,
    scaled,
    shared_pictures,
    sides,
    sides_times,
    squared,
    turned,
    with_alpha,
    with_box,
    write_sample,
    written,
    written_in_images,
)
from made_notations import OWN_WAYS, Way, manifest_channel, noted
from PIL import Image

from sagemaker_object_detection.dataset.conventions import BY_SETTING

_MAX_SHOWN = 200
DROP = {"invalid_boxes": "drop"}
NO_CONVENTION = "look like|may be|are invalid|in doubt|in shares"
TURNED = "rotat|turned|upright"
HELD_TOGETHER = "stay together, which makes 24 groups"
ENCLOSING = ("--polygons", "enclosing")
CVAT = "<attributes><attribute><name>rotation</name><value>{}</value></attribute></attributes></object>"
PART, INVALID = "a part of the file is written in another way", "boxes .*are invalid"
SEGMENTED = "agree with their segmentations so"
DROPPED = ("--invalid-boxes", "drop")
XYXY: Way = ("xyxy", None)
BAD_BOX = with_box([90, 90, 30, 95])
POLYGON = [[10.0, 20.0], [60.0, 30.0], [20.0, 80.0]]


def nothing(job: Job) -> None:
    """The sample data as it is."""


def stale(text: str) -> str:
    """An XML file whose <filename> is that of the next picture."""
    for number in range(5):
        text = text.replace(f"<filename>0000{number}.jpg", f"<filename>0000{number + 1}!.jpg")
    return text.replace("!", "")


CONVENTIONS = [
    DataSet(
        "1",
        f"{order}, {unit or 'pixels'}{', drop' if values else ''}",
        written(order, unit),
        REFUSED,
        NO_CONVENTION,
        values,
    )
    for values in ({}, DROP)
    for order in ORDERS
    for unit in (None, 1, 100, 1000)
    if (order, unit) != ("xyxy", None) and not (values and unit == 1000)
]
SETTINGS = [
    DataSet(
        "1",
        f"{order}, {unit or 'pixels'}, and bbox_format says so",
        alone(written(order, unit)),
        values={"bbox_format": order + suffix},
    )
    for order in ORDERS
    for unit, suffix in ((None, ""), (1, "_normalized"), (100, "_percent"), (1000, "_thousandths"))
]
NAMES_OF_WAYS: dict[float | None, str] = {None: "", 1: "_normalized", 100: "_percent"}


def wrong_ways(name: str) -> list[Way]:
    """Other orders in the format's unit, and its order in other units. In shares x and y look alike."""
    own, unit = OWN_WAYS[name]
    orders = [(order, unit) for order in ORDERS if order not in (own, "xxyy", *(["yxyx"] if unit else []))]
    return orders + [(own, other) for other in NAMES_OF_WAYS if other != unit]


def setting(way: Way) -> str:
    return way[0] + NAMES_OF_WAYS[way[1]]


def look_like(way: Way) -> str:
    return re.escape(f"look like {BY_SETTING[setting(way)]}")


NOTATIONS = [
    *(DataSet("1", f"{name} as it should be", noted(name, way)) for name, way in OWN_WAYS.items()),
    *(
        DataSet("1", f"{name} in {setting(way)}", noted(name, way), REFUSED, look_like(way))
        for name in OWN_WAYS
        for way in wrong_ways(name)
        if (name, way[1]) != ("ground-truth", 100)
    ),
    *(
        DataSet(
            "1",
            f"{name} in {setting(way)}, and --bbox-format says so",
            noted(name, way, options=("--bbox-format", setting(way))),
        )
        for name in OWN_WAYS
        for way in wrong_ways(name)
        if name != "ground-truth"
    ),
    *(
        DataSet("1", f"a part of {name} in {setting(way)}", noted(name, way, share=0.4), REFUSED, f"{PART}|{INVALID}")
        for name in OWN_WAYS
        for way in wrong_ways(name)[:2]
    ),
    DataSet("1", "ground-truth in percent", noted("ground-truth", ("xywh", 100)), TOLD, "in percent"),
    DataSet("1", "ground-truth in xyxy, drop", noted("ground-truth", XYXY, options=DROPPED), REFUSED, look_like(XYXY)),
    DataSet("1", "yolo in pixels, drop", noted("yolo", ("cxcywh", None), options=DROPPED), REFUSED, "look like"),
    DataSet("1", "a manifest as it should be", alone(manifest_channel(("xywh", None)))),
    *(
        DataSet("1", f"a manifest in {setting(way)}", alone(manifest_channel(way)), REFUSED, look_like(way))
        for way in wrong_ways("ground-truth")
        if way[1] != 100
    ),
    DataSet("1", "a manifest in percent", alone(manifest_channel(("xywh", 100))), TOLD, "in percent"),
]
COPIES = [
    DataSet("1", "boxes at half their size", scaled(0.5), TOLD, "copies 0.5 times"),
    DataSet("1", "images at twice their size, boxes not", resized(2), TOLD, "copies 0.5 times"),
    DataSet("1", "images at half their size, boxes not", resized(0.5), REFUSED, "copies 2 times"),
    DataSet("1", "COCO: boxes at half their size", as_coco(scaled(0.5), written("xywh")), TOLD, "copies 0.5 times"),
    DataSet("1", "COCO: boxes at twice their size", as_coco(scaled(2), written("xywh")), REFUSED, "copies 2 times"),
    DataSet("1", "COCO: images at half their size", as_coco(resized(0.5), written("xywh")), REFUSED, "copies 2 times"),
    DataSet("1", "images at twice their size, boxes too", in_turn(resized(2), scaled(2))),
    DataSet("1", "sizes of images at half their size", sides_times(0.5), REFUSED, "0.5 times as much"),
    DataSet("1", "letterboxed to 640", on_canvas(640, letterboxed=True), REFUSED, "letterboxed"),
    DataSet("1", "padded to 512", on_canvas(512), REFUSED, "padded to 512 x 512"),
    DataSet("1", "padded to 512, drop", on_canvas(512), REFUSED, "padded to 512 x 512", DROP),
    DataSet("1", "a border of 60 pixels", on_canvas(0, border=60), REFUSED, "border, of 60 pixels"),
    DataSet("1", "COCO: padded to 512", as_coco(on_canvas(512), written("xywh")), REFUSED, "padded to 512 x 512"),
    DataSet("1", "a border of half a pixel", on_canvas(0, border=0.5)),
]
WITNESSES = [
    DataSet("1", "half size, segmentations not", in_turn(outlined(), scaled(0.5)), REFUSED, SEGMENTED),
    DataSet("1", "half size, areas not", in_turn(measured(), scaled(0.5)), REFUSED, "with their areas so"),
    DataSet("1", "xywh beside segmentations", in_turn(outlined(), written("xywh")), REFUSED, SEGMENTED),
    DataSet("1", "xywh beside areas", in_turn(measured(), written("xywh")), REFUSED, "with their areas so"),
    DataSet("1", "yxyx beside segmentations", in_turn(squared, outlined(), written("yxyx")), REFUSED, SEGMENTED),
    DataSet("1", "COCO: corners beside segmentations", as_coco(outlined()), REFUSED, SEGMENTED),
    DataSet("1", "COCO: half size, segmentations not", as_coco(outlined(), scaled(0.5)), REFUSED, "copies 0.5 times"),
    DataSet("1", "segmentations at half their size", outlined(0.5), TOLD, "lie elsewhere"),
    DataSet("1", "areas of images at twice their size", measured(4), TOLD, "are larger than these"),
    DataSet("1", "COCO: segmentations at twice their size", as_coco(outlined(2), written("xywh")), TOLD, "elsewhere"),
    DataSet("1", "segmentations that are right", outlined()),
    DataSet("1", "segmentations in shares", outlined(shares=True)),
    DataSet("1", "areas that are right", measured()),
    DataSet("1", "areas of ellipses", measured(0.785)),
    DataSet("1", "areas of images at half their size", measured(0.25)),
    DataSet("1", "areas of 0", measured(0)),
    DataSet("1", "COCO: segmentations and areas", as_coco(outlined(), measured(0.5), written("xywh"))),
]
PARTS = [
    DataSet("1", "every second image in percent", written_in_images("xyxy", 100), REFUSED, PART),
    DataSet("1", "every third image in percent", written_in_images("xyxy", 100, every=3), REFUSED, PART),
    DataSet("1", "every second image in xywh", written_in_images("xywh"), REFUSED, f"{PART}.*xmin, ymin, width"),
    DataSet(
        "1",
        "every third image in xywh",
        written_in_images("xywh", every=3),
        REFUSED,
        f"({PART}|{INVALID}).*ymin, width",
    ),
    DataSet("1", "every second image in cxcywh", written_in_images("cxcywh"), REFUSED, f"{PART}.*centre x"),
    DataSet("1", "every second image in shares", written_in_images("xyxy", 1), REFUSED, f"({PART}|{INVALID}).*shares"),
    DataSet("1", "every second image in percent, drop", written_in_images("xyxy", 100), REFUSED, PART, DROP),
    DataSet("1", "points", extents(0, 0), REFUSED, "62 of 62 boxes are empty"),
    DataSet("1", "points, drop", extents(0, 0), REFUSED, "62 of 62 boxes are empty", DROP),
    DataSet("1", "boxes without width", extents(0, 20), REFUSED, "62 of 62 boxes are empty"),
    DataSet("1", "squares, yxyx", in_turn(squared, written("yxyx")), TOLD, "but also as TensorFlow's"),
    DataSet(
        "1", "squares, yxyx, a bad box, drop", in_turn(squared, written("yxyx"), BAD_BOX), TOLD, "about as many", DROP
    ),
    DataSet("1", "a sign in the first pixels of every second image", in_first_pixels(2)),
    DataSet("1", "a sign in the first pixels of every image", in_first_pixels(1)),
]


DATA_SETS = [
    *CONVENTIONS,
    *SETTINGS,
    *NOTATIONS,
    *COPIES,
    *WITNESSES,
    *PARTS,
    DataSet("1", "half of the boxes are xywh", written("xywh", share=0.5), REFUSED, NO_CONVENTION),
    DataSet("1", "half of the boxes are shares", written("xyxy", 1, share=0.5), REFUSED, NO_CONVENTION),
    DataSet("1", "half of the boxes are shares, drop", written("xyxy", 1, share=0.5), REFUSED, NO_CONVENTION, DROP),
    DataSet("1", "boxes of the images at twice their size", scaled(2), REFUSED, "outside its image|look like|invalid"),
    DataSet("1", "the same, drop", scaled(2), REFUSED, "in doubt|look like", DROP),
    DataSet("1", "a box thinner than a pixel", with_box([5, 5, 5.4, 90]), TOLD, "pixel"),
    DataSet("1", "boxes as they should be", nothing),
    DataSet("1", "fractions of pixels", scaled(0.999)),
    DataSet("1", "xyxy, and bbox_format says xywh", nothing, REFUSED, NO_CONVENTION, {"bbox_format": "xywh"}),
    DataSet(
        "1", "xyxy, and bbox_format says shares", nothing, REFUSED, NO_CONVENTION, {"bbox_format": "xyxy_normalized"}
    ),
    DataSet("1", "a box that reaches out by half a pixel", with_box([-0.5, 3, 90, 80])),
    DataSet("1", "one invalid box of many, drop", with_box([90, 90, 30, 95]), values=DROP),
    DataSet("1", "objects in the upper left quarter alone", padded),
    DataSet("1", "the same, fractions", lambda job: (padded(job), scaled(0.999)(job))),
    DataSet("1", "small objects alone", extents(8, 8)),
    DataSet("1", "one object in the whole set", lambda job: job.boxes.__delitem__(slice(1, None))),
    DataSet("2", "rotation of every box", beside(rotation=30), REFUSED, TURNED),
    DataSet("2", "rotation of one box, in attributes", beside(0, attributes={"rotation": 12.5}), REFUSED, TURNED),
    DataSet("2", "detectron2's bbox_mode of xywh", beside(bbox_mode=1), REFUSED, "bbox_mode"),
    DataSet("2", "sizes of other images", sides(1000, 7), REFUSED, "annotations say"),
    DataSet(
        "2", "rotation 0, a full turn, occlusion", beside(rotation=360, attributes={"rotation": 0, "occluded": True})
    ),
    DataSet("2", "area, segmentation and a score beside", beside(area=7, segmentation=[[1, 2, 3, 4, 5, 6]], score=1)),
    DataSet("2", "VOC: <filename> of another picture", converted_voc(stale), REFUSED, "--image-by"),
    DataSet(
        "2",
        "VOC: CVAT's rotation",
        converted_voc(lambda text: text.replace("</object>", CVAT.format(20), 1)),
        REFUSED,
        TURNED,
    ),
    DataSet("2", "COCO: attributes.rotation", converted_coco(attributes={"rotation": 90}), REFUSED, TURNED),
    DataSet("2", "COCO: bbox_mode", converted_coco(bbox_mode=0), REFUSED, "bbox_mode"),
    DataSet("2", "Label Studio: rotation", converted_label_studio(rotation=5), REFUSED, TURNED),
    DataSet(
        "2",
        "LabelMe: imagePath of another picture",
        converted_labelme("rectangle", POLYGON[:2], stale=True),
        REFUSED,
        "--image-by",
    ),
    DataSet("2", "LabelMe: polygons", converted_labelme("polygon", POLYGON), REFUSED, "--polygons"),
    DataSet(
        "2",
        "VOC: names of pictures before they were renamed",
        converted_voc(lambda text: text.replace("<filename>", "<filename>IMG_")),
    ),
    DataSet(
        "2",
        "VOC: a path on another machine",
        converted_voc(lambda text: text.replace("<size>", "<path>C:\\x\\00001.jpg</path><size>")),
    ),
    DataSet("2", "VOC: CVAT's rotation 0", converted_voc(lambda text: text.replace("</object>", CVAT.format("0.0")))),
    DataSet("2", "COCO: rotation, enclosing", converted_coco(*ENCLOSING, attributes={"rotation": 90})),
    DataSet("2", "Label Studio: rotation 0", converted_label_studio(rotation=0)),
    DataSet("2", "LabelMe: polygons, enclosing", converted_labelme("polygon", POLYGON, *ENCLOSING)),
    DataSet(
        "2",
        "Label Studio: labels for an image that was turned",
        converted_label_studio(image_rotation=90),
        REFUSED,
        "turned",
    ),
    DataSet(
        "2", "YOLO: polygons", converted_yolo(lambda text: f"{text}0 0.1 0.1 0.2 0.1 0.2 0.3"), REFUSED, "--polygons"
    ),
    DataSet(
        "2",
        "YOLO: boxes and keypoints",
        converted_yolo(lambda text: f"{text}0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 1", *ENCLOSING),
        REFUSED,
        "kpt_shape",
    ),
    DataSet("2", "YOLO: pixels", converted_yolo(lambda text: f"{text}0 100 100 20 20"), REFUSED, "shares"),
    DataSet(
        "2",
        "CSV: pixels where shares belong",
        converted_csv(lambda text: f"{text}\n00000,circle,10,10,90,90,0"),
        REFUSED,
        "shares",
    ),
    DataSet(
        "2",
        "VOC: sizes of other images",
        converted_voc(lambda text: text.replace("<width>", "<width>1")),
        REFUSED,
        "annotations say",
    ),
    DataSet("2", "YOLO as it should be", converted_yolo(str)),
    DataSet(
        "2", "YOLO: polygons, enclosing", converted_yolo(lambda text: f"{text}0 0.1 0.1 0.2 0.1 0.2 0.3", *ENCLOSING)
    ),
    DataSet("2", "CSV as it should be", converted_csv(str)),
    DataSet(
        "2", "VOC: size 0, for unknown", converted_voc(lambda text: re.sub("<(width|height)>[0-9]+", r"<\1>0", text))
    ),
    DataSet("2", "LabelMe: corners in another order", converted_labelme("rectangle", POLYGON[1::-1])),
    DataSet("3", "a crowd", beside(0, iscrowd=1), TOLD, "ignore|crowd"),
    DataSet("3", "ignored regions", beside(0.2, ignore=1), TOLD, "ignore"),
    DataSet("3", "iscrowd that is no flag", beside(0, iscrowd="yes"), REFUSED, "iscrowd"),
    DataSet("3", "iscrowd 0, ignore 0", beside(iscrowd=0, ignore=0)),
    DataSet(
        "4",
        "an augmented copy of every picture",
        alone(copied("{stem}_jpg.rf.{number:032x}.jpg", mirrored=True)),
        TOLD,
        HELD_TOGETHER,
    ),
    DataSet("4", "every file twice", alone(copied("other_{stem}.jpg")), TOLD, HELD_TOGETHER),
    DataSet("4", "_flip beside every picture", alone(copied("{stem}_flip.jpg", mirrored=True)), TOLD, HELD_TOGETHER),
    DataSet("4", "every picture again, encoded anew", alone(copied("z{number}.jpg", quality=60)), TOLD, HELD_TOGETHER),
    DataSet("4", "the channels share every third picture", shared_pictures(8), TOLD, "have a copy"),
    DataSet("4", "the channels share one picture", shared_pictures(1), TOLD, "have a copy"),
    DataSet(
        "4", "groups that the file names", alone(of_images(lambda job, image: image.update(group=image["id"] % 8)))
    ),
    DataSet("4", "frames of one video, all of them different", alone(renamed(str, to="video_frame_{number:04d}.jpg"))),
    DataSet("4", "a few names that look like copies", alone(renamed(str, to="shot ({number}).jpg", count=5))),
    DataSet("4", "pictures of their own, held out", alone(nothing)),
    DataSet("5", "an image of 300 objects", crowded(300), TOLD, "max_detections|detections"),
    DataSet("5", "an image of 130 objects", crowded(130), TOLD, "max_detections|detections"),
    DataSet("5", "an image of 80 objects", crowded(80)),
    DataSet("6", "16 bits, of which 12 are used", repainted(grey_16(12)), TOLD, "16 bits|16-bit|12"),
    DataSet("6", "a few images of 16 bits, of which 10 are used", repainted(grey_16(10), 3), TOLD, "16 bits|16-bit|10"),
    DataSet("6", "half of every image is transparent", repainted(with_alpha(0)), TOLD, "transparen|alpha"),
    DataSet("6", "grey images", repainted(lambda pixels: Image.fromarray(pixels[..., 0]))),
    DataSet("6", "images with a palette", repainted(lambda pixels: Image.fromarray(pixels).quantize(64))),
    DataSet("6", "images that EXIF turns", turned),
    DataSet("6", "16 bits that are all used", repainted(grey_16(16))),
    DataSet("6", "an alpha channel that hides nothing", repainted(with_alpha(255))),
    DataSet("names", "backslashes", renamed(lambda name: f"images\\{name}"), TOLD, "backslashes"),
    DataSet("names", "URL-encoded", renamed(quote, to="a b {number}.jpg"), TOLD, "URL-encoded"),
    DataSet(
        "names",
        "another Unicode form",
        renamed(lambda name: unicodedata.normalize("NFD", name), to="é{number}.jpg"),
        TOLD,
        "Unicode",
    ),
    DataSet("names", "addresses", renamed(lambda name: f"s3://bucket/pictures/{name}"), TOLD, "addresses"),
    DataSet(
        "names",
        "a name like another",
        renamed(lambda name: name.replace("c", "k"), to="picture{number}.jpg"),
        REFUSED,
        "Did you mean",
    ),
    DataSet("names", "names with blanks, capitals and a percent sign", renamed(str, to="A b%20{number}.JPG")),
    DataSet("names", "names in another script", renamed(str, to="猫{number}.jpg")),
    DataSet("weak", "every box twice", lambda job: job.boxes.extend([dict(box) for box in job.boxes]), TOLD, "already"),
    DataSet(
        "weak",
        "every box with two classes",
        lambda job: job.boxes.extend(
            [{**box, "category_id": 7 if box["category_id"] == 1 else 1} for box in job.boxes]
        ),
        TOLD,
        "another class",
    ),
    DataSet(
        "weak",
        "class names equal but for case",
        of_categories(lambda rows: rows[1].update(name="Circle")),
        TOLD,
        "ircle",
    ),
    DataSet(
        "weak", "class names that are equal", of_categories(lambda rows: rows[1].update(name="circle")), TOLD, "circle"
    ),
    DataSet("weak", "an empty class name", of_categories(lambda rows: rows[1].update(name=" ")), TOLD, "name"),
    DataSet("weak", "two objects of a class nearly at one place", with_box([75, 86, 169, 164])),
    DataSet("weak", "keys that mean nothing", beside(id=7, note="x", angle="front")),
    DataSet(
        "weak",
        "ids that are text",
        lambda job: (
            [row.update(image_id=str(row["image_id"])) for row in job.boxes]
            + [row.update(id=str(row["id"])) for row in job.images]
        ),
    ),
    DataSet("weak", "class names in another script", of_categories(lambda rows: rows[0].update(name="圆"))),
    DataSet("weak", "width and height 0, for unknown", sides(0, 0)),
    DataSet("file", "gzip", replaced(gzip.compress), REFUSED, "gzip"),
    DataSet(
        "file",
        "JSON Lines",
        replaced(lambda raw: b"\n".join(json.dumps(each).encode() for each in json.loads(raw)["images"])),
        REFUSED,
        "JSON",
    ),
    DataSet(
        "file",
        "S3's error XML",
        replaced(lambda raw: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        REFUSED,
        "AccessDenied",
    ),
    DataSet("file", "base64 in an image", other_file(base64.b64encode), REFUSED, "base64"),
    DataSet("file", "an AVIF image", other_file(lambda raw: b"\0\0\0\x20ftypavif" + bytes(90)), REFUSED, "AVIF"),
    DataSet("file", "an MP4 video", other_file(lambda raw: b"\0\0\0\x20ftypisom" + bytes(90)), REFUSED, "MP4"),
    DataSet("file", "a byte order mark", replaced(lambda raw: b"\xef\xbb\xbf" + raw)),
    DataSet("layout", "Roboflow's COCO", layout("train/_annotations.coco.json"), REFUSED, "convert_dataset.py coco"),
    DataSet(
        "layout",
        "CVAT's YOLO",
        layout("obj.names", "train.txt", "obj_train_data/a.txt"),
        REFUSED,
        "convert_dataset.py yolo",
    ),
    DataSet("layout", "VOC beside its images", layout("a.xml"), REFUSED, "convert_dataset.py voc"),
    DataSet("layout", "TFRecord", layout("train.record"), REFUSED, "convert_dataset.py tfrecord"),
]


def reduced() -> list[DataSet]:
    """The first fault that is refused, that is told, and the first innocent set, of each row."""
    first: dict[tuple[str, str], DataSet] = {}
    for data_set in DATA_SETS:
        first.setdefault((data_set.row, data_set.expected), data_set)
    return list(first.values())


def table(verdicts: list[Verdict]) -> str:
    lines = ["| row | data set | | verdict | sentence |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        data_set = verdict.data_set
        said = "refused" if verdict.problems else "accepted"
        kind = "innocent" if data_set.expected == INNOCENT else "fault"
        sentence = " ".join(verdict.sentence.split()).replace("|", "\\|") if kind == "fault" or verdict.problems else ""
        sentence = sentence if len(sentence) <= _MAX_SHOWN else f"{sentence[:_MAX_SHOWN]}..."
        mark = "" if verdict.is_right else " **WRONG**"
        lines.append(f"| {data_set.row} | {data_set.name} | {kind} | {said}{mark} | {sentence} |")
    return "\n".join(lines)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        sample = write_sample(Path(folder) / "sample")
        verdicts = [judge(data_set, sample, Path(folder) / f"job{number}") for number, data_set in enumerate(DATA_SETS)]
        text = table(verdicts).replace(folder, "")
    wrong = [verdict for verdict in verdicts if not verdict.is_right]
    innocent = sum(verdict.data_set.expected == INNOCENT for verdict in verdicts)
    print(text)
    print(f"\n{len(verdicts)} data sets, {innocent} of them innocent; {len(wrong)} verdicts are wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
