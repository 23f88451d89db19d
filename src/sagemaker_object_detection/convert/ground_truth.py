"""Reads what a bounding box job of SageMaker Ground Truth writes, with images that lie in a local folder.

Training takes such a manifest, too; the container's own reader reads it here and there.
"""

from dataclasses import replace
from pathlib import Path

from sagemaker_object_detection.convert import coco
from sagemaker_object_detection.convert.foreign import ForeignBox, ForeignDataSet, ForeignImage
from sagemaker_object_detection.dataset.ground_truth import NUMBERS, read_manifest

GROUND_TRUTH = "ground-truth"
NOTATION = replace(coco.NOTATION, fields=NUMBERS)


def read_ground_truth(manifest: Path, images: Path, attribute: str | None) -> ForeignDataSet:
    """Read the labels of a manifest. Lines that the labelling job gave up on are left out.

    Args:
        manifest: the file output.manifest of the job.
        images: a folder with copies of the objects in S3. An object's image is the file whose path has the most parts,
            from its end on, in common with the object's key, its base name at least; two that have equally many are a
            problem.
        attribute: the label attribute. None: the only one that holds boxes, or the newest that adjusts others.
    """
    data = ForeignDataSet(GROUND_TRUTH, NOTATION, folders=(images,), addresses=True)
    has_images = data.has_folder(images, "the folder with the images")
    with data.collecting():
        raw = data.read_bytes(manifest, "an augmented manifest of SageMaker Ground Truth")
        found = read_manifest(raw, str(manifest), attribute)
        for kind, text in found.problems:
            data.add_problem(kind, text)
        for image in found.images:
            place = f"{manifest} line {image.line}"
            folder = images if has_images else None
            data.images.append(ForeignImage(place, image.source, None, image.height, image.width, folder))
        for box in found.boxes:
            place = f"{data.images[box.image].place} annotations[{box.row}]"
            data.boxes.append(ForeignBox(place, box.image, box.class_id, box.numbers))
        data.categories = dict(found.classes)
        data.notes += [(f"lines of which {note}", len(found.images)) for note in found.notes]
        data.notes.append(("left out, lines that the labelling job gave up on (failure-reason)", found.given_up))
    return data
