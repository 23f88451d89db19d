"""Whether classes can be told apart by their names, by one rule for channels and converters."""

from collections.abc import Mapping

from sagemaker_object_detection.dataset.annotation_entries import Id
from sagemaker_object_detection.dataset.problems import Problem
from sagemaker_object_detection.sentences import listed, quoted

SAME_NAMES = "duplicate class names"
_SHOWN = 10


def check_names(source: str, categories: Mapping[Id, str], boxes: Mapping[Id, int]) -> list[Problem]:
    """A problem for each name that several classes with boxes have: a model cannot tell them apart, and would be
    trained to. Without boxes a class does no harm: exports have one for the project or the supercategory.

    Args:
        source: what the categories are of, for sentences.
        categories: names by id.
        boxes: how many each id has.
    """
    sharing: dict[str, list[Id]] = {}
    for id_, name in categories.items():
        if boxes.get(id_):
            sharing.setdefault(name, []).append(id_)
    problems = []
    for name, ids in sharing.items():
        if len(ids) > 1:
            counts = listed([f"{quoted(id_)} ({boxes[id_]} boxes)" for id_ in ids], _SHOWN)
            text = (
                f"{source} categories: {counts} have the same name {quoted(name)}. If they are one class, write one "
                f"category_id in all their annotations; else give each a name of its own."
            )
            problems.append(Problem(source, SAME_NAMES, text))
    return problems
