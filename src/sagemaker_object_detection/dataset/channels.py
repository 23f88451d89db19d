"""One channel of a job while it is checked: its table, its image files, its boxes, and what its pixels are like."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable, read_annotations
from sagemaker_object_detection.dataset.check_boxes import CheckedBoxes, check_boxes
from sagemaker_object_detection.dataset.check_classes import check_blank_names
from sagemaker_object_detection.dataset.check_images import CheckedImages, check_images
from sagemaker_object_detection.dataset.check_pixels import drop_unusable, pixel_warnings
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.images.decoded import DecodedImages, room_for_pixels
from sagemaker_object_detection.images.decoding import Pixels, check_decoding
from sagemaker_object_detection.images.headers import UNUSABLE, UnusableImageError
from sagemaker_object_detection.images.likeness import Looks
from sagemaker_object_detection.job.stop import StopSignal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Channel:
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
        return self._has(self.is_object)

    @property
    def with_any(self) -> np.ndarray:
        """bool [N], the images that have objects or ignored regions."""
        return self._has(np.ones(len(self.boxes.rows), bool))

    def _has(self, wanted: np.ndarray) -> np.ndarray:
        found = np.zeros(len(self.table.file_names), bool)
        found[self.table.box_images[self.boxes.rows[wanted]]] = True
        return found

    @property
    def images_of_boxes(self) -> np.ndarray:
        """int64 [m], index of the image of each object."""
        return np.asarray(self.table.box_images[self.boxes.rows[self.is_object]])

    @property
    def is_object(self) -> np.ndarray:
        """bool [m], of the boxes: those to learn, which are no ignored regions and not there already."""
        return np.asarray(~(self._is_marked | self.boxes.repeated))

    @property
    def is_region(self) -> np.ndarray:
        """bool [m], of the boxes: the ignored regions."""
        return np.asarray(self._is_marked & ~self.boxes.repeated)

    @property
    def _is_marked(self) -> np.ndarray:
        return np.isin(self.boxes.rows, self.table.ignored)


def _check_channel(
    name: str, folder: Path, hyperparameters: Hyperparameters, problems: list[Problem], warnings: list[str]
) -> Channel | None:
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
    bbox_format, clip = table.bbox_format or hyperparameters.bbox_format, hyperparameters.invalid_boxes == "clip"
    boxes, found, warned = check_boxes(table, sizes, bbox_format, lenient=lenient, clip=clip)
    problems += found
    warnings += warned
    channel = Channel(table, images, boxes)
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


Outcomes = dict[int, UnusableImageError | Pixels]
"""Of the images of a channel whose headers are good, by index."""


def _decode_channels(
    channels: Sequence[Channel], stop: StopSignal, looks: Looks, *, keep_pixels: bool
) -> tuple[DecodedImages | None, list[Outcomes]]:
    """Decode what has a good header, of all channels in one go; the pixels, as far as they are kept, and what they are
    like, for each channel. looks: filled in, one channel after the other."""
    outcomes: list[Outcomes] = [{} for _ in channels]
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
    kept, decoded = 0, None
    if keep_pixels:
        kept = room_for_pixels(max(header.height * header.width for *_, header in todo))
        decoded = DecodedImages(kept)
    started = time.monotonic()
    logger.info("Checking that %d images decode, on %d cores.", len(todo), os.cpu_count() or 1)
    found = check_decoding(
        [path for _, _, path, _ in todo],
        [header for *_, header in todo],
        stop,
        decoded.keep if decoded is not None else lambda path, image: None,
        lambda number, contents, image: looks.see(places[number], contents, image),
        kept,
    )
    logger.info("Decoded every image in %.1f seconds.", time.monotonic() - started)
    for (number, index, *_), outcome in zip(todo, found, strict=True):
        outcomes[number][index] = outcome
    return decoded, outcomes


def _judge_decoding(
    channel: Channel, outcomes: Outcomes, lenient: bool, problems: list[Problem], warnings: list[str]
) -> Channel:
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


@dataclass(frozen=True, eq=False)
class CheckedChannels:
    """The channels that could be read, by name, and what is wrong and to be told so far. looks: of all images, one
    channel after the other."""

    channels: dict[str, Channel]
    decoded: DecodedImages | None
    looks: Looks
    problems: list[Problem]
    warnings: list[str]


def check_channels(
    folders: Mapping[str, Path], hyperparameters: Hyperparameters, stop: StopSignal, *, keep_pixels: bool
) -> CheckedChannels:
    """Read and check the channels, by name, down to the pixels of every image."""
    problems: list[Problem] = []
    warnings: list[str] = []
    checked = [_check_channel(name, folder, hyperparameters, problems, warnings) for name, folder in folders.items()]
    channels = {channel.table.channel: channel for channel in checked if channel is not None}
    lenient = hyperparameters.invalid_images == "drop"
    looks = Looks(sum(len(channel.table.file_names) for channel in channels.values()))
    decoded, outcomes = _decode_channels(list(channels.values()), stop, looks, keep_pixels=keep_pixels)
    for channel, outcome in zip(list(channels.values()), outcomes, strict=True):
        channels[channel.table.channel] = _judge_decoding(channel, outcome, lenient, problems, warnings)
    return CheckedChannels(channels, decoded, looks, problems, warnings)


def all_pixel_warnings(checked: CheckedChannels, sample_bits: int) -> list[str]:
    return [
        warning
        for channel in checked.channels.values()
        for warning in pixel_warnings(channel.table, channel.images, channel.pixels, channel.with_boxes, sample_bits)
    ]
