"""The validation images that are most worth a second look: what the model is sure of is not what the boxes say.

That is the model's mistake or the annotation's, and a person sees which. Of what is left the highest losses follow.
"""

from collections.abc import Sequence

import numpy as np

from sagemaker_object_detection.dataset.annotations import Dataset
from sagemaker_object_detection.dataset.problems import SecondLook
from sagemaker_object_detection.evaluation.coco import DetectionSet
from sagemaker_object_detection.evaluation.evaluation import CONFIDENT
from sagemaker_object_detection.report.figures import MATCH_IOU, Compared, Figures, match
from sagemaker_object_detection.sentences import shown

MOST = 100
_TOLD = 3
"""Contradictions that are told of an image."""
_UNFOUND = 0.5
"""What a box weighs that nothing was found at: less than a detection that is sure of something else."""
_HIGH_LOSS = 2.0
"""Times the median, from which on a loss by itself is a reason."""


def find_second_looks(dataset: Dataset, detections: DetectionSet, figures: Figures) -> list[SecondLook]:
    """At most MOST of N validation images, the most worth it first.

    A detection counts if its score is at least the threshold that `figures` suggests for its class, 0.5 without one. It
    contradicts the boxes if it overlaps none by half, or one of another class. So does the model as a whole where no
    detection, whatever its score and class, overlaps a box by half.
    """
    cuts = np.array([one.threshold.score if one.threshold else CONFIDENT for one in figures.classes], np.float32)
    losses = detections.losses
    high = _HIGH_LOSS * float(np.median(losses)) if losses is not None else np.inf
    ranked = []
    for index, name in enumerate(dataset.file_names):
        reasons, scores, doubt = _contradictions(Compared.of(dataset, detections, index), cuts, dataset.labels.names)
        loss = float(losses[index]) if losses is not None else None
        if not reasons and loss is not None and loss > high:
            reasons = [f"a loss of more than {_HIGH_LOSS:g} times the median"]
        if reasons:
            more = f" and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
            look = SecondLook(name, "; ".join(reasons[:_TOLD]) + more, loss, max(scores, default=None))
            ranked.append((-doubt, -(loss or 0.0), index, look))
    return [look for *_, look in sorted(ranked, key=lambda entry: entry[:3])[:MOST]]


def _contradictions(image: Compared, cuts: np.ndarray, names: Sequence[str]) -> tuple[list[str], list[float], float]:
    """What contradicts an image's boxes, the most confident first; the scores of such detections; and the weight of all
    of it together."""
    sure = image.above(cuts)
    reasons, scores = [], []
    for number, box in enumerate(match(sure.overlap).tolist()):
        found, score = int(sure.classes[number]), float(sure.scores[number])
        if box >= 0 and sure.truth_classes[box] != found:
            reasons.append(f"a box of {shown(names[sure.truth_classes[box]])} is {shown(names[found])} at {score:.2f}")
        elif box < 0 and sure.overlap[number].max(initial=0.0) < MATCH_IOU:
            reasons.append(f"{shown(names[found])} at {score:.2f} has no box")
        else:
            continue
        scores.append(score)
    unfound = image.truth_classes[image.overlap.max(axis=0, initial=0.0) < MATCH_IOU]
    for one in np.unique(unfound).tolist():
        count = int((unfound == one).sum())
        what = f"a box of {shown(names[one])} was" if count == 1 else f"{count} boxes of {shown(names[one])} were"
        reasons.append(f"{what} never found")
    return reasons, scores, sum(scores) + _UNFOUND * len(unfound)
