"""Loads the data of a job: all of it is checked, down to decoding every image, before anything is built on it."""

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.alike import Pictures, find_groups, find_rules
from sagemaker_object_detection.dataset.annotation_file import AnnotationTable, read_annotations
from sagemaker_object_detection.dataset.annotations import Dataset, IgnoredRegions, Labels
from sagemaker_object_detection.dataset.check_boxes import CheckedBoxes, check_boxes
from sagemaker_object_detection.dataset.check_classes import (
    check_blank_names,
    check_known,
    check_names,
    find_labels,
)
from sagemaker_object_detection.dataset.check_images import CheckedImages, check_images, images_folder
from sagemaker_object_detection.dataset.check_pixels import drop_unusable, flat_images, pixel_warnings, used_bits
from sagemaker_object_detection.dataset.leaks import cut_sentence, find_likenesses, leak_warnings, split_sentence
from sagemaker_object_detection.dataset.problems import (
    ChannelReport,
    DataError,
    DataReport,
    Likeness,
    Problem,
    write_report,
)
from sagemaker_object_detection.dataset.split import split_groups, split_images
from sagemaker_object_detection.hyperparameters.kinds import AUTO
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.images.decoded import DecodedImages, room_for_pixels
from sagemaker_object_detection.images.decoding import Pixels, check_decoding
from sagemaker_object_detection.images.headers import UNUSABLE, UnusableImageError
from sagemaker_object_detection.images.likeness import Looks
from sagemaker_object_detection.job.stop import NEVER, StopSignal
from sagemaker_object_detection.sentences import listed, shortlist

logger = logging.getLogger(__name__)

_CLASSES_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Splits:
    training: Dataset
    validation: Dataset | None
    report: DataReport
    test: Dataset | None = None


@dataclass(frozen=True, eq=False)
class _Channel:
    """pixels: of the images that decode, by index. dropped: what is wrong with those that are left out."""

    table: AnnotationTable
    images: CheckedImages
    boxes: CheckedBoxes
    pixels: Mapping[int, Pixels] = field(default_factory=dict)
    dropped: Mapping[int, Problem] = field(default_factory=dict)

    @property
    def used(self) -> np.ndarray:
        """int64 [n], the images that are not left out, ascending."""
        return np.setdiff1d(np.arange(len(self.table.file_names)), list(self.dropped))

    @property
    def with_boxes(self) -> np.ndarray:
        """bool [N], the images that have objects."""
        found = np.zeros(len(self.table.file_names), bool)
        found[self.images_of_boxes] = True
        return found

    @property
    def images_of_boxes(self) -> np.ndarray:
        """int64 [m], index of the image of each object."""
        return np.asarray(self.table.box_images[self.boxes.rows[self.is_object]])

    @property
    def is_object(self) -> np.ndarray:
        """bool [m], of the boxes that may be trained on: not an ignored region."""
        return ~np.isin(self.boxes.rows, self.table.ignored)


def load_splits(
    training: Path,
    validation: Path | None,
    hyperparameters: Hyperparameters,
    *,
    test: Path | None = None,
    report_folder: Path | None = None,
    stop: StopSignal = NEVER,
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

    Returns:
        the data sets, with the same labels; no box of theirs is empty or outside, and every image decodes.

    Raises:
        UserError: anything is wrong with the data: of all channels together, and everything that is.
        StoppedError: `stop` was requested.
    """
    folders = {"training": training, "validation": validation, "test": test}
    checked = _check({name: folder for name, folder in folders.items() if folder is not None}, hyperparameters, stop)
    channels, problems, warnings = checked.channels, checked.problems, checked.warnings
    sample_bits = used_bits(
        pixels for name, channel in channels.items() if name != "test" for pixels in channel.pixels.values()
    )
    warnings += _pixel_warnings(checked, sample_bits)
    labels = None
    if "training" in channels:
        labels, warned = find_labels(channels["training"].table)
        warnings += warned
        uses = Counter[int | str]()
        for channel in channels.values():
            codes = np.delete(channel.table.box_categories, channel.table.ignored)
            uses.update({channel.table.category_ids[code]: int(n) for code, n in enumerate(np.bincount(codes))})
        problems += check_names("training", channels["training"].table.categories or {}, uses)
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
        names, has_boxes = [names[index] for index in used], whole.with_boxes[used]
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
    first = dict(zip((id(channel) for channel in channels.values()), np.cumsum([0, *counts]).tolist(), strict=False))
    places = {name: first[id(channel)] + chosen for name, (channel, chosen) in parts.items()}
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
    checked = _check({name: folder}, hyperparameters, stop)
    problems, warnings = checked.problems, checked.warnings
    for channel in checked.channels.values():
        problems += check_known(channel.table, labels, dict(zip(labels.ids, labels.names, strict=True)), "the model")
    if problems:
        if report_folder is not None:
            write_report(report_folder, problems, DataReport((), tuple(warnings)))
        raise DataError(problems)
    warnings += _pixel_warnings(checked, sample_bits)
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


@dataclass(frozen=True, eq=False)
class _Checked:
    """The channels that could be read, by name, and what is wrong and to be told so far. looks: of all images, one
    channel after the other."""

    channels: dict[str, _Channel]
    decoded: DecodedImages | None
    looks: Looks
    problems: list[Problem]
    warnings: list[str]


def _check(folders: Mapping[str, Path], hyperparameters: Hyperparameters, stop: StopSignal) -> _Checked:
    problems: list[Problem] = []
    warnings: list[str] = []
    checked = [_check_channel(name, folder, hyperparameters, problems, warnings) for name, folder in folders.items()]
    channels = {channel.table.channel: channel for channel in checked if channel is not None}
    lenient = hyperparameters.invalid_images == "drop"
    looks = Looks(sum(len(channel.table.file_names) for channel in channels.values()))
    decoded, outcomes = _check_decoding(list(channels.values()), stop, looks)
    for channel, outcome in zip(list(channels.values()), outcomes, strict=True):
        channels[channel.table.channel] = _judge_decoding(channel, outcome, lenient, problems, warnings)
    return _Checked(channels, decoded, looks, problems, warnings)


def _pixel_warnings(checked: _Checked, sample_bits: int) -> list[str]:
    return [
        warning
        for channel in checked.channels.values()
        for warning in pixel_warnings(channel.table, channel.images, channel.pixels, channel.with_boxes, sample_bits)
    ]


def _pictures(channels: Sequence[_Channel], looks: Looks) -> Pictures:
    """The images of all channels, one channel after the other, as `looks` has them."""
    tables = [channel.table for channel in channels]
    numbers = np.repeat(np.arange(len(tables)), [len(table.file_names) for table in tables])
    names = [name for table in tables for name in table.file_names]
    origins = [origin for table in tables for origin in table.origins or [None] * len(table.file_names)]
    return Pictures(names, numbers, origins, looks)


def _check_channel(
    name: str, folder: Path, hyperparameters: Hyperparameters, problems: list[Problem], warnings: list[str]
) -> _Channel | None:
    table, found = read_annotations(name, folder)
    problems += found
    if table is None:
        return None
    warnings += table.notes
    problems += check_blank_names(table)
    images, found = check_images(table)
    sizes = images.sizes
    if hyperparameters.invalid_images == "drop":
        # Judged when all are decoded; until then nothing is said of their boxes either.
        unusable = set(images.unusable.values())
        found = [problem for problem in found if problem not in unusable]
        sizes = sizes.copy()
        sizes[list(images.unusable)] = 0
    problems += found
    warnings += images.notes
    lenient = hyperparameters.invalid_boxes == "drop"
    boxes, found, warned = check_boxes(table, sizes, table.bbox_format or hyperparameters.bbox_format, lenient=lenient)
    problems += found
    warnings += warned
    channel = _Channel(table, images, boxes)
    if not channel.is_object.any() and not any(problem.channel == name for problem in problems):
        what = f"every box ({boxes.dropped}) was left out" if boxes.dropped else "there is no box in annotations"
        if len(boxes.rows):
            what = f"all that is left in annotations are regions to ignore ({len(boxes.rows)}: iscrowd or ignore is 1)"
        if name == "training":
            text = f"{name}: {what}. Expected at least one box to learn from."
            problems.append(Problem(name, "channels without boxes", text))
        else:
            warnings.append(f"{name}: {what}, so there is no mean average precision to measure.")
    return channel


_Outcomes = dict[int, UnusableImageError | Pixels]
"""Of the images of a channel whose headers are good, by index."""


def _check_decoding(
    channels: Sequence[_Channel], stop: StopSignal, looks: Looks
) -> tuple[DecodedImages | None, list[_Outcomes]]:
    """Decode what has a good header, of all channels in one go; what came of it, as far as it is kept, and what it is
    like, for each channel. looks: filled in, one channel after the other."""
    outcomes: list[_Outcomes] = [{} for _ in channels]
    every = [
        (number, index, path, header)
        for number, channel in enumerate(channels)
        for index, (path, header) in enumerate(zip(channel.images.paths, channel.images.headers, strict=True))
    ]
    places, todo = [], []
    for place, (number, index, path, header) in enumerate(every):
        if path is not None and header is not None:
            places.append(place)
            todo.append((number, index, path, header))
    if not todo:
        return None, outcomes
    kept = room_for_pixels(max(header.height * header.width for *_, header in todo))
    decoded = DecodedImages(kept)
    started = time.monotonic()
    logger.info("Checking that %d images decode, on %d cores.", len(todo), os.cpu_count() or 1)
    found = check_decoding(
        [path for _, _, path, _ in todo],
        [header for *_, header in todo],
        stop,
        decoded.keep,
        lambda number, contents, image: looks.see(places[number], contents, image),
        kept,
    )
    logger.info("Decoded every image in %.1f seconds.", time.monotonic() - started)
    for (number, index, *_), outcome in zip(todo, found, strict=True):
        outcomes[number][index] = outcome
    return decoded, outcomes


def _judge_decoding(
    channel: _Channel, outcomes: _Outcomes, lenient: bool, problems: list[Problem], warnings: list[str]
) -> _Channel:
    """The channel with what its images are like, and those left out that cannot be used, if that is asked for."""
    table = channel.table
    faults = {
        index: Problem(table.channel, outcome.kind, f"{table.image(index)} {outcome}")
        for index, outcome in outcomes.items()
        if isinstance(outcome, UnusableImageError)
    }
    pixels = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, Pixels)}
    channel = replace(channel, pixels=pixels)
    if not lenient:
        problems += faults.values()
        return channel
    passing = {index: problem for index, problem in faults.items() if problem.kind not in UNUSABLE}
    unusable = {index: problem for index, problem in faults.items() if index not in passing}
    unusable |= channel.images.unusable
    found, warned = drop_unusable(table, unusable, channel.images_of_boxes)
    problems += [*found, *passing.values()]
    warnings += warned
    return replace(channel, dropped={} if found else dict(sorted(unusable.items())))


def _dataset(
    channel: _Channel, chosen: np.ndarray, labels: Labels, decoded: DecodedImages | None, sample_bits: int
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

    is_object = channel.is_object
    columns = {
        "sizes": images.sizes[chosen].astype(np.int32),
        "orientations": images.orientations[chosen],
        **by_image(is_object),
    }
    regions = by_image(~is_object)
    ignored = IgnoredRegions(**regions) if len(regions["boxes"]) else None
    file_names = tuple(table.file_names[index] for index in chosen)
    file_sizes = [header.file_size for index in chosen if (header := images.headers[index]) is not None]
    # Of all that training sees but the pixels, of which the file sizes are a cheap stand-in.
    digest = hashlib.sha256(repr((file_names, file_sizes, labels)).encode())
    # Without regions it is what it was before there were any: running jobs go on.
    digested = columns | ({f"ignored {name}": column for name, column in regions.items()} if ignored else {})
    for name, column in digested.items():
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode() + np.ascontiguousarray(column).tobytes())
    if any(channel.pixels[index].sample_bits is not None for index in chosen.tolist()):
        digest.update(f"sample bits {sample_bits}".encode())  # which depend on the other images too
    folder = images_folder(table.folder)
    below = len(os.fspath(folder)) + 1
    files = {table.file_names[index]: os.fspath(path)[below:] for index in chosen if (path := images.paths[index])}
    return Dataset(
        images=folder,
        file_names=file_names,
        renamed={name: file for name, file in files.items() if name != file},
        labels=labels,
        decoded=decoded,
        fingerprint=digest.hexdigest(),
        ignored=ignored,
        sample_bits=sample_bits,
        **columns,
    )


def _channel_report(name: str, channel: _Channel | None, dataset: Dataset) -> ChannelReport:
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
        repeated_boxes=channel.boxes.repeated if channel else 0,
        conventions=channel.boxes.conventions if channel else "",
        ignored_regions=0 if dataset.ignored is None else len(dataset.ignored.boxes),
    )


def _summary(report: ChannelReport) -> str:
    notes = (
        (report.images_without_boxes, "images without boxes"),
        (report.ignored_regions, "regions to ignore (iscrowd, ignore), neither learned nor counted as mistakes"),
        (report.clipped_boxes, "boxes clipped by at most a pixel"),
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
