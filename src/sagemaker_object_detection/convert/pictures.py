"""Which image a file of annotations is for: what it says itself and what it is called may name different ones."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace

from sagemaker_object_detection.convert.foreign import ForeignDataSet, ForeignImage
from sagemaker_object_detection.dataset.image_names import leads_elsewhere
from sagemaker_object_detection.sentences import quoted

INSIDE, OWN_NAME = "content", "name"
IMAGE_BY = (INSIDE, OWN_NAME)
"""What decides where the two contradict each other, as --image-by has it."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def find_picture(
    image: ForeignImage, stem: str, field: str, data: ForeignDataSet, *, decides: str | None, paths: Sequence[str] = ()
) -> ForeignImage:
    """The image that a file of annotations is for.

    Tools write the name that an image had when it was annotated. Where it was renamed since, and another one has that
    name now, the boxes would be learned on the wrong picture.

    Args:
        image: as the file names it; no name: it does not.
        stem: the path of the file below its folder, without suffix.
        field: where the file has the name, for sentences.
        decides: INSIDE or OWN_NAME; None: two images that are both there are a problem.
        paths: what else in the file names an image. That it contradicts the others is counted, and they are followed.
    """
    folder = image.folder
    if folder is None:
        return image

    def existing(name: str) -> str | None:
        usable = name and not leads_elsewhere(name) and os.path.lexists(folder / name)
        return posixpath.normpath(name) if usable else None

    inside = existing(image.file_name if image.path is not None else "")
    own = next((name for suffix in _SUFFIXES if (name := existing(stem + suffix))), None)
    if inside and own and _stem(inside) == _stem(own):
        # A name without folders is that of an image in the folder which mirrors the file's own.
        inside = own if posixpath.basename(inside) == posixpath.basename(own) and "/" not in inside else inside
    elif inside and own and decides is None:
        text = (
            f"{image.place}: {field} is {quoted(inside)}, but the file is called like {quoted(own)}, and both are in "
            f"{folder}: it may be either's. Correct it, or say what decides with --image-by {INSIDE} or --image-by "
            f"{OWN_NAME}."
        )
        data.add_problem("contradicting image names", text)
        return replace(image, path=None, folder=None)
    chosen = own if own and (decides == OWN_NAME or not inside) else inside
    if chosen is None:
        return image
    for path in paths:
        other = existing(posixpath.join(posixpath.dirname(chosen), posixpath.basename(path.replace("\\", "/"))))
        if other and _stem(other) != _stem(chosen):
            data.counts[f"files whose path names another image, which is there too; {field} was followed"] += 1
    return replace(image, file_name=chosen, path=folder / chosen)


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]
