"""What decoding a channel's images has shown: files that cannot be used, and pixels that need a word."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sagemaker_object_detection.dataset.annotation_file import AnnotationTable
from sagemaker_object_detection.dataset.check_images import CheckedImages
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.images.decoding import DARK, Pixels
from sagemaker_object_detection.images.headers import SAMPLE_BITS
from sagemaker_object_detection.sentences import shortlist

MAX_DROPPED = 0.1
"""Share of a channel's images that may be left out: where more are unusable, the upload or the annotations are at
fault, and what is left may be anything."""
_FIRST_FEW = 3


def drop_unusable(
    table: AnnotationTable, problems: Mapping[int, Problem], boxes: np.ndarray
) -> tuple[list[Problem], list[str]]:
    """Whether images whose files cannot be used may be left out, as invalid_images="drop" asks.

    Args:
        problems: what is wrong with them, by the index of the image.
        boxes: int64 [m], index of the image of each box that may be trained on.

    Returns:
        the problems, if that is no way out; and a warning that counts the images otherwise.
    """
    count, channel = len(table.file_names), table.channel
    if not problems:
        return [], []
    told = [problems[index] for index in sorted(problems)]
    share = f"{len(told)} of {count} images"
    if len(told) > MAX_DROPPED * count:
        text = (
            f'{channel}: {share} cannot be used. invalid_images="drop" leaves out at most {MAX_DROPPED:.0%} of a '
            "channel: see that all of it was uploaded, and that the annotations are of these images."
        )
        return [Problem(channel, "channels of unusable images", text), *told], []
    if len(boxes) and np.isin(boxes, list(problems)).all():
        text = f"{channel}: every image with boxes cannot be used ({share}). Expected at least one box to learn from."
        return [Problem(channel, "channels without boxes", text), *told], []
    kinds = Counter(problem.kind for problem in told)
    counts = ", ".join(f"{kind}: {number}" for kind, number in sorted(kinds.items()))
    first = " ".join(problem.text for problem in told[:_FIRST_FEW])
    return [], [f'{channel}: left out {share}, as invalid_images="drop" asks: {counts}. First: {first}']


def used_bits(pixels: Iterable[Pixels]) -> int:
    """How many bits the samples of images of 16 bits use, 8 to 16, in all of these images together."""
    bits = [each.sample_bits for each in pixels if each.sample_bits is not None]
    return max(bits, default=SAMPLE_BITS)


def flat_images(pixels: Mapping[int, Pixels], with_boxes: np.ndarray, sample_bits: int) -> list[int]:
    """Images with boxes in which there is all but nothing to see. with_boxes: bool [N]."""
    return [index for index, each in pixels.items() if with_boxes[index] and each.is_flat(sample_bits)]


def pixel_warnings(
    table: AnnotationTable,
    images: CheckedImages,
    pixels: Mapping[int, Pixels],
    with_boxes: np.ndarray,
    sample_bits: int,
) -> list[str]:
    """Sentences on images whose pixels are not simply those of the file, or show nothing.

    Args:
        pixels: of the images that decode, by index.
        with_boxes: bool [N].
        sample_bits: from `used_bits`, of all channels.
    """

    def named(indices: Sequence[int]) -> str:
        count = f"{len(indices)} of {len(table.file_names)} images"
        return f"{table.channel}: {count} ({shortlist([table.file_names[index] for index in indices])})"

    warnings = []
    see_through = [index for index, each in pixels.items() if each.see_through]
    if see_through:
        warnings.append(
            f"{named(see_through)} are transparent in part. They are seen on white, as a browser shows them, here and "
            "by the exported model; the colours that they hide are not."
        )
    deep = {index: each.sample_bits for index, each in pixels.items() if each.sample_bits is not None}
    if deep and sample_bits < SAMPLE_BITS:
        warnings.append(
            f"{named(list(deep))} have 16 bits a sample, of which the data uses {sample_bits}: they are scaled by "
            "that, here and by the exported model."
        )
    dark = [index for index in deep if not pixels[index].fits(sample_bits)]
    if 2 * len(dark) > len(deep):  # a few may be of the night
        bright = [table.file_names[index] for index in deep if index not in dark]
        others = f" ({shortlist(bright)})" if bright else ""
        warnings.append(
            f"{named(dark)} use at least {DARK} bits less of their 16 than the brightest images{others}, and come out "
            "dark: all are scaled alike. Scale them to the same range."
        )
    flat = flat_images(pixels, with_boxes, sample_bits)
    if flat:
        warnings.append(
            f"{named(flat)} have boxes, but are all but of one colour: nothing can be learnt from them. See that these "
            "are the images that were annotated."
        )
    guessed = [index for index in pixels if _is_guessed(images, index, table.image_sizes[index])]
    if guessed:
        warnings.append(
            f"{named(guessed)} are turned by an orientation that only their XMP data has, and the annotations' sizes "
            "do not say whether their boxes are for the turned pixels. Browsers do not turn such images: if the boxes "
            "were drawn in one, remove the orientation from the files."
        )
    return warnings


def _is_guessed(images: CheckedImages, index: int, annotated: np.ndarray) -> bool:
    """Whether an orientation of XMP data is applied without being confirmed by the annotated size."""
    header = images.headers[index]
    if header is None or not header.from_xmp or images.orientations[index] == 1:
        return False
    return all(given in (0, actual) for given, actual in zip(annotated, header.stored, strict=True))
