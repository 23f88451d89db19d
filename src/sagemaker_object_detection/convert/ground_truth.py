"""Reads the augmented manifest that a bounding-box job of SageMaker Ground Truth writes, as the container itself does.

Where the images are, the caller says: they are in a local folder, or stay in S3.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sagemaker_object_detection.convert import coco
from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, ForeignImage
from sagemaker_object_detection.dataset.ground_truth import NUMBERS, numbered_lines, read_manifest

GROUND_TRUTH = "ground-truth"
NOTATION = replace(coco.NOTATION, fields=NUMBERS, is_known=True)
FindImage = Callable[[str, str], tuple[str, Path | None]]
"""Place of a line and its s3://bucket/key -> the image's path below images/, and the file, if it is on this machine.
Raises an InvalidError where there is no image."""


def read_ground_truth(manifest: Path, images: Path, attributes: Sequence[str] = ()) -> ForeignDataSet:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        manifest: the file output.manifest of the job.
        images: a folder with copies of the objects in S3. An object's image is the file whose path has the most parts,
            from its end on, in common with the object's key, its base name at least; two that have equally many are a
            problem.
        attributes: the label attributes, as `read_manifest` takes them.
    """
    data = ForeignDataSet(GROUND_TRUTH, NOTATION, folders=(images,), addresses=True)
    folder = images if data.has_folder(images, "the folder with the images") else None
    with data.collecting():
        text = data.read_text(manifest, "an augmented manifest of SageMaker Ground Truth")
        lines = numbered_lines(str(manifest), text)
        read_lines(data, str(manifest), lines, attributes, lambda place, address: (address, None))
    data.images = [replace(image, folder=folder) for image in data.images]
    return data


def read_lines(
    data: ForeignDataSet,
    manifest: str,
    lines: Iterable[tuple[str, str]],
    attributes: Sequence[str],
    find_image: FindImage,
) -> None:
    """Add to a data set what the lines of a manifest say. See `read_manifest` for what is not described here."""
    found = read_manifest(manifest, lines, attributes)
    for kind, text in found.problems:
        data.add_problem(kind, text)
    indices: dict[int, int] = {}
    for number, image in enumerate(found.images):
        with data.collecting():
            name, path = find_image(image.place, image.address)
            indices[number] = len(data.images)
            found_image = ForeignImage(image.place, name, path, image.height, image.width, group=image.group)
            data.images.append(found_image)
    for box in found.boxes:
        if box.image in indices:
            place = f"{found.images[box.image].place} annotations[{box.row}]"
            data.boxes.append(ForeignBox(place, indices[box.image], box.class_id, box.numbers))
    data.categories.update(found.classes.items())
    data.notes += found.notes
