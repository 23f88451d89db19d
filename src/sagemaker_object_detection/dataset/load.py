"""Loads the data of a job: all of it is checked, down to decoding every image, before anything is built on it."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sagemaker_object_detection.dataset.alike import Pictures, find_groups, find_rules
from sagemaker_object_detection.dataset.annotations import Dataset, IgnoredRegions, Labels
from sagemaker_object_detection.dataset.channels import Channel, all_pixel_warnings, check_channels
from sagemaker_object_detection.dataset.check_classes import (
    check_known,
    check_names,
    find_labels,
)
from sagemaker_object_detection.dataset.check_images import images_folder
from sagemaker_object_detection.dataset.check_pixels import flat_images, used_bits
from sagemaker_object_detection.dataset.leaks import cut_sentence, find_likenesses, leak_warnings, split_sentence
from sagemaker_object_detection.dataset.problems import (
    ChannelReport,
    DataError,
    DataReport,
    Likeness,
    write_report,
)
from sagemaker_object_detection.dataset.split import split_groups, split_images
from sagemaker_object_detection.hyperparameters.kinds import AUTO
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.images.decoded import DecodedImages
from sagemaker_object_detection.images.likeness import Looks
from sagemaker_object_detection.job.stop import NEVER, StopSignal
from sagemaker_object_detection.sentences import listed, shortlist

logger = logging.getLogger(__name__)

_CLASSES_SHOWN = 20
_SHOWN = 6
"""Digits of a part's fingerprint."""


@dataclass(frozen=True, eq=False)
class Splits:
    training: Dataset
    validation: Dataset | None
    report: DataReport
    test: Dataset | None = None


def load_splits(
    training: Path,
    validation: Path | None,
    hyperparameters: Hyperparameters,
    *,
    test: Path | None = None,
    report_folder: Path | None = None,
    stop: StopSignal = NEVER,
    keep_pixels: bool = True,
) -> Splits:
    """Read and check the channels, and hold out validation images where there is no validation channel.

    It runs TensorFlow operations, so devices must have been configured before.

    Args:
        training: the channel's folder, with `annotations.json` and `images/`.
        validation: likewise, or None.
        hyperparameters: for what boxes mean, what becomes of invalid ones, and which images are held out.
        test: likewise; nothing is learnt from it or chosen by it.
        report_folder: `data_report.json` is written here, whether the data is good or not; None: nowhere.
        stop: heard while the images are decoded, which takes minutes where there are many.
        keep_pixels: whether decoded images stay in memory as far as there is room, for a training that follows.

    Returns:
        the data sets, with the same labels; no box of theirs is empty or outside, and every image decodes.

    Raises:
        UserError: anything is wrong with the data: of all channels together, and everything that is.
        StoppedError: `stop` was requested.
    """
    folders = {"training": training, "validation": validation, "test": test}
    given = {name: folder for name, folder in folders.items() if folder is not None}
    checked = check_channels(given, hyperparameters, stop, keep_pixels=keep_pixels)
    channels, problems, warnings = checked.channels, checked.problems, checked.warnings
    sample_bits = used_bits(
        pixels for name, channel in channels.items() if name != "test" for pixels in channel.pixels.values()
    )
    warnings += all_pixel_warnings(checked, sample_bits)
    labels = None
    if "training" in channels:
        labels, warned = find_labels(channels["training"].table)
        warnings += warned
        uses = Counter[int | str]()
        for channel in channels.values():
            codes = np.delete(channel.table.box_categories, channel.table.ignored)
            uses.update({channel.table.category_ids[code]: int(n) for code, n in enumerate(np.bincount(codes))})
        table = channels["training"].table
        # Without categories ids are the names: 1 and "1" are one class.
        categories = table.categories or {id_: str(id_) for id_ in table.category_ids}
        problems += check_names("training", categories, uses)
        for name, channel in channels.items():
            if name != "training":
                known = channels["training"].table.categories or {}
                problems += check_known(channel.table, labels, known, "training")
    if problems or labels is None:
        if report_folder is not None:
            write_report(report_folder, problems, DataReport((), tuple(warnings)))
        raise DataError(problems)

    parts = {name: (channel, channel.used) for name, channel in channels.items()}
    pictures = _pictures(list(channels.values()), checked.looks)
    rules, decisions, cause = find_rules(pictures), list[str](), None
    ratio = hyperparameters.validation_split_ratio
    if validation is None and ratio > 0:
        whole = channels["training"]
        names, used = whole.table.file_names, whole.used
        of_training = [replace(rule, labels=rule.labels[: len(names)]) for rule in rules]
        groups = find_groups(of_training, len(names)).of(used)
        names = [names[index] for index in used]
        # Each by itself, it is as version 0.1.0 had it, which took ignored regions for objects: its jobs go on.
        has_boxes = (whole.with_any if hyperparameters.split_by == "image" else whole.with_boxes)[used]
        if hyperparameters.split_by == "image" or not groups.any:
            kept, held_out = split_images(names, has_boxes, ratio, hyperparameters.seed)
            cause = 'split_by is "image": leave it at Auto to keep those together.'
        else:
            split = split_groups(names, has_boxes, ratio, hyperparameters.seed, groups)
            kept, held_out = split.training, split.validation
            cause = "They are of different groups in the annotation file: see that these are right."
            if split.cut:
                cause = cut_sentence(split.cut, names)
        parts |= {"training": (whole, used[kept]), "validation": (whole, used[held_out])}
        of_used = [replace(rule, labels=rule.labels[used]) for rule in rules]
        decisions.append(split_sentence(of_used, names, groups, held_out, hyperparameters))
    elif hyperparameters.split_by != AUTO:
        logger.info("split_by: has no effect, because no images are held out of training.")
    counts = [len(channel.table.file_names) for channel in channels.values()]
    first = dict(zip(channels, np.cumsum([0, *counts]).tolist(), strict=False))
    places = {name: first[channel.table.channel] + chosen for name, (channel, chosen) in parts.items()}
    likenesses = find_likenesses(rules, pictures.file_names, places)
    warnings += leak_warnings(rules, likenesses, places, cause)

    datasets = {
        name: _dataset(channel, chosen, labels, checked.decoded, sample_bits)
        for name, (channel, chosen) in parts.items()
    }
    reports = [_channel_report(name, channels.get(name), dataset) for name, dataset in datasets.items()]
    report = _tell(reports, warnings, decisions, likenesses, report_folder)
    return Splits(datasets["training"], datasets.get("validation"), report, datasets.get("test"))


def load_channel(
    name: str,
    folder: Path,
    labels: Labels,
    hyperparameters: Hyperparameters,
    *,
    sample_bits: int,
    report_folder: Path | None = None,
    stop: StopSignal = NEVER,
) -> tuple[Dataset, DataReport]:
    """Read and check one channel whose objects are to be held against those that a model finds.

    Args:
        name: what the channel is called in sentences.
        labels: the model's classes. The channel may have less of them, by the same ids and names, and no others.
        hyperparameters, report_folder, stop: as in `load_splits`.
        sample_bits: how many of the 16 bits of a sample the model takes for used.

    Raises:
        UserError, StoppedError: as `load_splits`.
    """
    checked = check_channels({name: folder}, hyperparameters, stop, keep_pixels=True)
    problems, warnings = checked.problems, checked.warnings
    for channel in checked.channels.values():
        problems += check_known(channel.table, labels, dict(zip(labels.ids, labels.names, strict=True)), "the model")
    if problems:
        if report_folder is not None:
            write_report(report_folder, problems, DataReport((), tuple(warnings)))
        raise DataError(problems)
    warnings += all_pixel_warnings(checked, sample_bits)
    channel = checked.channels[name]
    dataset = _dataset(channel, channel.used, labels, checked.decoded, sample_bits)
    return dataset, _tell([_channel_report(name, channel, dataset)], warnings, [], (), report_folder)


def _tell(
    reports: Sequence[ChannelReport],
    warnings: list[str],
    decisions: Sequence[str],
    likenesses: tuple[Likeness, ...],
    folder: Path | None,
) -> DataReport:
    """Logs what is known of the data, and writes it into `folder`."""
    for report in reports:
        missing = [label for label, count in report.boxes_per_class.items() if count == 0]
        if missing:
            effect = "cannot be learnt" if report.channel == "training" else "cannot be measured"
            warnings.append(f"{report.channel} has no box of {shortlist(missing)}, which {effect}.")
    for decision in decisions:
        logger.info("%s", decision)
    for warning in warnings:
        logger.warning("%s", warning)
    for report in reports:
        logger.info("%s", _summary(report))
        if report.conventions:
            logger.info("%s: %s.", report.channel, report.conventions)
    whole = DataReport(tuple(reports), tuple(warnings), tuple(decisions), likenesses)
    if folder is not None:
        write_report(folder, [], whole)
    return whole


def _pictures(channels: Sequence[Channel], looks: Looks) -> Pictures:
    """The images of all channels, one channel after the other, as `looks` has them."""
    tables = [channel.table for channel in channels]
    numbers = np.repeat(np.arange(len(tables)), [len(table.file_names) for table in tables])
    names = [name for table in tables for name in table.file_names]
    origins = [origin for table in tables for origin in table.origins or [None] * len(table.file_names)]
    return Pictures(names, numbers, origins, looks)


def _dataset(
    channel: Channel, chosen: np.ndarray, labels: Labels, decoded: DecodedImages | None, sample_bits: int
) -> Dataset:
    """The chosen images of a channel (ascending indices) and their boxes."""
    table, images, boxes = channel.table, channel.images, channel.boxes
    new_index = np.full(len(table.file_names), -1, np.int64)
    new_index[chosen] = np.arange(len(chosen))
    image_of_box = new_index[table.box_images[boxes.rows]]
    class_of_id = {id_: number for number, id_ in enumerate(labels.ids)}
    class_of_code = np.array([class_of_id[id_] for id_ in table.category_ids], np.int32)

    def by_image(wanted: np.ndarray) -> dict[str, np.ndarray]:
        order = np.argsort(image_of_box, kind="stable")
        order = order[wanted[order] & (image_of_box[order] >= 0)]
        per_image = np.bincount(image_of_box[order], minlength=len(chosen))
        return {
            "offsets": np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
            "boxes": boxes.boxes[order],
            "classes": class_of_code[table.box_categories[boxes.rows[order]]],
        }

    pictures = {"sizes": images.sizes[chosen].astype(np.int32), "orientations": images.orientations[chosen]}
    objects, regions = by_image(channel.is_object), by_image(channel.is_region)
    ignored = IgnoredRegions(**regions) if len(regions["boxes"]) else None
    file_names = tuple(table.file_names[index] for index in chosen)
    file_sizes = [header.file_size for index in chosen if (header := images.headers[index]) is not None]
    start = repr((file_names, file_sizes, labels))
    of_regions = {f"ignored {name}": column for name, column in regions.items()} if ignored else {}
    deep = any(channel.pixels[index].sample_bits is not None for index in chosen.tolist())
    bits = f"sample bits {sample_bits}" if deep else ""  # which depend on the other images too
    fingerprint = _digest(start, pictures | objects | of_regions, bits)
    every = by_image(np.ones(len(boxes.rows), bool))
    former = _digest(start, pictures | every)
    facts = {
        "names of images": _fact(len(file_names), repr(file_names)),
        "sizes of image files in bytes": _fact(sum(file_sizes), repr(file_sizes)),
        "classes": _fact(len(labels), repr(labels)),
        "sizes and orientations of images": _fact(len(file_names), "", pictures),
        "objects": _fact(len(objects["boxes"]), "", objects),
        "regions to ignore": _fact(len(regions["boxes"]), "", regions),
    }
    folder = images_folder(table.folder)
    below = len(os.fspath(folder)) + 1
    files = {table.file_names[index]: os.fspath(path)[below:] for index in chosen if (path := images.paths[index])}
    return Dataset(
        images=folder,
        file_names=file_names,
        renamed={name: file for name, file in files.items() if name != file},
        labels=labels,
        decoded=decoded,
        fingerprint=fingerprint,
        former_fingerprint=former if former != fingerprint else None,
        facts=facts,
        ignored=ignored,
        sample_bits=sample_bits,
        **pictures,
        **objects,
    )


def _digest(start: str, columns: Mapping[str, np.ndarray], end: str = "") -> str:
    """Of all that training sees but the pixels, of which the file sizes are a cheap stand-in."""
    digest = hashlib.sha256(start.encode())
    for name, column in columns.items():
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode() + np.ascontiguousarray(column).tobytes())
    digest.update(end.encode())
    return digest.hexdigest()


def _fact(count: int, start: str, columns: Mapping[str, np.ndarray] = MappingProxyType({})) -> str:
    """A part of the data, short enough for a sentence: a number of it, and a few digits that change with it."""
    return f"{count} ({_digest(start, columns)[:_SHOWN]})"


def _channel_report(name: str, channel: Channel | None, dataset: Dataset) -> ChannelReport:
    """What is in the data set. What was done to the channel is told once, with images held out of it included."""
    counts = np.bincount(dataset.classes, minlength=len(dataset.labels))
    pixels = channel.pixels.values() if channel else ()
    return ChannelReport(
        channel=name,
        images=len(dataset.file_names),
        images_without_boxes=int((np.diff(dataset.offsets) == 0).sum()),
        boxes=len(dataset.boxes),
        boxes_per_class={label: int(count) for label, count in zip(dataset.labels.names, counts, strict=True)},
        clipped_boxes=channel.boxes.clipped if channel else 0,
        dropped_boxes=channel.boxes.dropped if channel else 0,
        exif_turned_images=channel.images.turned if channel else 0,
        exif_ignored_images=channel.images.ignored if channel else 0,
        xmp_turned_images=channel.images.turned_by_xmp if channel else 0,
        deep_images=sum(each.sample_bits is not None for each in pixels),
        sample_bits=dataset.sample_bits,
        transparent_images=sum(each.see_through for each in pixels),
        flat_images=len(flat_images(channel.pixels, channel.with_boxes, dataset.sample_bits)) if channel else 0,
        dropped_images=tuple(problem.text for problem in channel.dropped.values()) if channel else (),
        repeated_boxes=int(channel.boxes.repeated.sum()) if channel else 0,
        conventions=channel.boxes.conventions if channel else "",
        ignored_regions=0 if dataset.ignored is None else len(dataset.ignored.boxes),
    )


def _summary(report: ChannelReport) -> str:
    notes = (
        (report.images_without_boxes, "images without boxes"),
        (report.ignored_regions, "regions to ignore (iscrowd, ignore), neither learned nor counted as mistakes"),
        (report.clipped_boxes, "boxes clipped to their image"),
        (report.dropped_boxes, "boxes left out"),
        (report.repeated_boxes, "boxes that are there already left out"),
        (report.exif_turned_images, "images turned as their EXIF orientation says"),
        (report.xmp_turned_images, "of these by XMP alone"),
        (report.exif_ignored_images, "EXIF orientations ignored, as the annotated sizes ask"),
        (report.deep_images, f"images of 16 bits a sample, of which {report.sample_bits} are used"),
        (report.transparent_images, "transparent images seen on white"),
        (report.flat_images, "images with boxes that are all but of one colour"),
        (len(report.dropped_images), "images left out"),
    )
    told = "".join(f"; {what}: {count}" for count, what in notes if count)
    classes = listed([f"{name} {count}" for name, count in report.boxes_per_class.items()], _CLASSES_SHOWN)
    return f"{report.channel}: {report.images} images, {report.boxes} boxes ({classes}){told}."
