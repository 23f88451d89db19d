"""What images have in common, in sentences and for the report: within a channel, and across training and validation."""

from collections.abc import Mapping, Sequence

import numpy as np

from sagemaker_object_detection.dataset.alike import FRAMES, NAMED_COPIES, Groups, Rule
from sagemaker_object_detection.dataset.problems import Likeness
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.sentences import counted, listed, shown

_EXAMPLES = 3
_PAIRS = (("validation", "training"), ("test", "training"), ("test", "validation"))
"""What is measured on one part is too good if the other, which training or its best epoch goes by, has copies of it."""
_BY_NAME = (NAMED_COPIES, FRAMES)
"""Rules that look at nothing but names."""


def find_likenesses(
    rules: Sequence[Rule], file_names: Sequence[str], parts: Mapping[str, np.ndarray]
) -> tuple[Likeness, ...]:
    """What each rule finds within each part of N images, and across them.

    Args:
        parts: "training" and, if there are any, "validation" and "test": int64 indices.
    """
    found = []
    for name, members in parts.items():
        for rule in rules:
            labels = rule.labels[members]
            values, counts = np.unique(labels[labels >= 0], return_counts=True)
            several = values[counts > 1]
            if len(several):
                examples = _examples(file_names, [members[labels == label][:2] for label in several[:_EXAMPLES]])
                images = int(counts[counts > 1].sum())
                found.append(Likeness(name, rule.name, images, len(several), examples))
    for name, other in _PAIRS:
        if name not in parts or other not in parts:
            continue
        members = parts[name]
        for rule in rules:
            seen, held_out = rule.labels[parts[other]], rule.labels[members]
            common = np.intersect1d(seen, held_out)
            common = common[common >= 0]
            if len(common):
                pairs = [
                    (members[held_out == label][0], parts[other][seen == label][0]) for label in common[:_EXAMPLES]
                ]
                images = int(np.isin(held_out, common).sum())
                found.append(Likeness(_both(name, other), rule.name, images, len(common), _examples(file_names, pairs)))
    return tuple(found)


def leak_warnings(
    rules: Sequence[Rule], likenesses: Sequence[Likeness], parts: Mapping[str, np.ndarray], cause: str | None
) -> list[str]:
    """Sentences for each part with images of the same origin as those of a part that training goes by: those of which
    the pixels or the annotation file tell, and those of which nothing but the names does.

    Args:
        cause: why a split that we made has them, and what to do; None for channels that are somebody else's.
    """
    warnings = []
    for name, other in _PAIRS:
        shared = [likeness for likeness in likenesses if likeness.channel == _both(name, other)]
        if not shared:
            continue
        held_out = parts[name]
        leaked, by_name = np.zeros((2, len(held_out)), bool)
        for rule in rules:
            seen = rule.labels[parts[other]]
            found = by_name if rule.name in _BY_NAME else leaked
            found |= np.isin(rule.labels[held_out], seen[seen >= 0])
        by_name &= ~leaked
        advice = "Keep all copies of a picture, and all frames of a video, in one channel."
        if name == "validation" and cause is not None:
            advice = cause
        if leaked.any():
            warnings.append(
                f"{name}: {leaked.sum()} of {len(held_out)} images have a copy or a neighbour in {other} "
                f"({_kinds(shared, named=False)}), so that {name} finds the model better than it is. {advice}"
            )
        if by_name.any():
            warnings.append(
                f"{name}: {by_name.sum()} of {len(held_out)} images are called as copies or frames of {other} images "
                f"are ({_kinds(shared, named=True)}), but their pixels alone do not tell. If they are, {name} finds "
                f"the model better than it is. {advice}"
            )
    return warnings


def _kinds(shared: Sequence[Likeness], *, named: bool) -> str:
    told = [one for one in shared if (one.rule in _BY_NAME) == named]
    return "; ".join(f"{one.rule}: {one.images}, such as {_named(one.examples)}" for one in told)


def _both(name: str, other: str) -> str:
    return f"{other} and {name}"


def split_sentence(
    rules: Sequence[Rule],
    file_names: Sequence[str],
    groups: Groups,
    held_out: np.ndarray,
    hyperparameters: Hyperparameters,
) -> str:
    """By what images were held out, with counts."""
    count = len(file_names)
    if hyperparameters.split_by == "image":
        by = "each by itself, as split_by says"
    elif not groups.any:
        by = "no two are of the same origin, as far as their names and pixels tell"
    else:
        found = find_likenesses(rules, file_names, {"training": np.arange(count)})
        kinds = "; ".join(f"{one.rule}: {one.images}, such as {_named(one.examples[:1])}" for one in found)
        made = counted(len(np.unique(groups.scenes)), "group")
        by = f"those of one origin stay together, which makes {made} ({kinds})"
    return (
        f"No validation channel: {len(held_out)} of {count} images ({len(held_out) / count:.0%}; "
        f"validation_split_ratio is {hyperparameters.validation_split_ratio:g}) are held out of training; {by}."
    )


def cut_sentence(cut: Sequence[np.ndarray], file_names: Sequence[str]) -> str:
    """What became of groups that are too large to stay together: each int64, indices in the order of the names."""
    largest = max(cut, key=len)
    first, last = shown(file_names[largest[0]]), shown(file_names[largest[-1]])
    others = f" (and {len(cut) - 1} more)" if len(cut) > 1 else ""
    return (
        f"The group of {len(largest)} images from {first} to {last}{others} is too large for validation_split_ratio "
        "and was cut in the order of its names. Add images of other origins, or a validation channel."
    )


def _examples(file_names: Sequence[str], groups: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(file_names[index] for index in group) for group in groups)


def _named(examples: Sequence[Sequence[str]]) -> str:
    return listed([" and ".join(map(shown, names)) for names in examples])
