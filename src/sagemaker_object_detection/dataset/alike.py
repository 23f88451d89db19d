"""Which images are of one origin: copies of a picture, frames of a video, or whatever the annotation file says.

Each rule that finds something gives the images it puts together the same label. From them follow the groups that the
split keeps together, and what two channels share.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sagemaker_object_detection.dataset.origins import Origin, find_origins, number_in
from sagemaker_object_detection.images.likeness import NEIGHBOURS, Looks, alike, differences, has_contrast

DECLARED = "the same group in the annotation file"
EQUAL = "equal files"
NAMED_COPIES = "copies by their names"
LOOK_ALIKE = "nearly the same pixels"
FRAMES = "frames of a video by their names"
SEQUENCE = "consecutive numbers and similar pixels"
_COPIES = (EQUAL, NAMED_COPIES, LOOK_ALIKE)
"""Rules of one picture; the others are of one scene."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """N images of one or two channels: what is known of where they came from.

    channels: int [N], number of the channel. groups: what the annotation file says each belongs to, None where nothing.
    """

    file_names: Sequence[str]
    channels: np.ndarray
    groups: Sequence[Hashable | None]
    looks: Looks


@dataclass(frozen=True, eq=False)
class Rule:
    """What one rule found. labels: int64 [N], the same for images that it puts together, -1 for those of which it says
    nothing. A label that one image alone has says that it belongs to no other."""

    name: str
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of N images, as labels int64 [N]. copies: of one picture. scenes: of one origin, made of whole `copies`
    but where the annotation file says otherwise."""

    copies: np.ndarray
    scenes: np.ndarray

    @property
    def any(self) -> bool:
        """Whether any two images are in one group."""
        return len(np.unique(self.scenes)) < len(self.scenes)

    def of(self, chosen: np.ndarray) -> "Groups":
        """Those of some of the images: indices, ascending."""
        return Groups(*(_firsts(labels[chosen]) for labels in (self.copies, self.scenes)))


def _firsts(labels: np.ndarray) -> np.ndarray:
    """For each image the first one with its label."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])


def find_rules(pictures: Pictures) -> list[Rule]:
    """What each rule finds among N images; rules that find nothing are left out."""
    count, looks = len(pictures.file_names), pictures.looks
    channels = pictures.channels.tolist()
    origins: list[Origin] = [Origin("", False, None, False)] * count
    for channel in set(channels):
        members = np.flatnonzero(pictures.channels == channel).tolist()
        for index, origin in zip(members, find_origins([pictures.file_names[i] for i in members]), strict=True):
            origins[index] = origin
    told = np.flatnonzero(looks.seen)
    told = told[has_contrast(looks.thumbnails[told])]
    digests = [bytes(digest) if seen else None for digest, seen in zip(looks.digests, looks.seen, strict=True)]
    # Of equal files one is enough; there may be thousands.
    first_of: dict[bytes | None, int] = {}
    distinct = np.array([i for i in told.tolist() if first_of.setdefault(digests[i], i) == i], np.int64)
    has_look = np.zeros(count, bool)
    has_look[told] = True

    # A number or a generic name means the same in one file alone.
    declared = [
        None if group is None else (group, None if isinstance(group, str) else channel)
        for group, channel in zip(pictures.groups, channels, strict=True)
    ]
    videos = [
        None if origin.video is None else (origin.video, None if origin.named else channel)
        for origin, channel in zip(origins, channels, strict=True)
    ]
    pairs = distinct[alike(looks.thumbnails[distinct])]
    set_of_pairs = set(pairs.ravel().tolist())
    equal = [(first, i) for i in told.tolist() if (first := first_of[digests[i]]) in set_of_pairs]
    found = (
        Rule(DECLARED, _labels_of(declared, least=1)),
        Rule(EQUAL, _labels_of(digests)),
        Rule(NAMED_COPIES, _labels_of(_named(pictures, origins, has_look))),
        Rule(LOOK_ALIKE, _joined(count, [*pairs.tolist(), *equal])),
        Rule(FRAMES, _labels_of(videos)),
        Rule(SEQUENCE, _joined(count, _sequences(pictures, origins, has_look))),
    )
    return [rule for rule in found if (rule.labels >= 0).any()]


def find_groups(rules: Sequence[Rule], count: int) -> Groups:
    """The groups of N images. Images with a group in the annotation file are in that, whatever the other rules find."""
    labels = {rule.name: rule.labels for rule in rules}
    declared = labels.pop(DECLARED, np.full(count, -1))
    copies = _joined(count, _links(labels[name] for name in _COPIES if name in labels))
    scenes = [np.where(declared >= 0, -1, found) for found in labels.values()]
    whole = _singled(_joined(count, _links([declared, *scenes])))
    _, first, parts = np.unique(np.stack([whole, _singled(copies)]), axis=1, return_index=True, return_inverse=True)
    return Groups(first[parts], whole)


def _named(pictures: Pictures, origins: Sequence[Origin], has_look: np.ndarray) -> list[Hashable | None]:
    """What copies of one picture have in common, where a name says that there are any: a name, and the channel.

    That two channels both have a picture of the same name means nothing: many are numbered from 1. A copy of it in the
    other channel means something, and then there is no channel in the key, unless such namesakes differ.
    """
    channels = pictures.channels.tolist()
    members: dict[str, list[int]] = defaultdict(list)
    for index, origin in enumerate(origins):
        members[origin.picture].append(index)
    shared = set()
    for picture, indices in members.items():
        if len({channels[i] for i in indices}) > 1 and any(origins[i].derived for i in indices):
            namesakes: dict[str, list[int]] = defaultdict(list)
            for i in indices:
                namesakes[pictures.file_names[i]].append(i)
            both = [each for each in namesakes.values() if len(each) > 1]
            if len(namesakes) > 1 and all(_similar(pictures.looks, each[0], each[1], has_look) for each in both):
                shared.add(picture)
    copied = {(origin.picture, channel) for origin, channel in zip(origins, channels, strict=True) if origin.derived}
    keys: list[Hashable | None] = []
    for origin, channel in zip(origins, channels, strict=True):
        key = (origin.picture, channel)
        keys.append(origin.picture if origin.picture in shared else key if key in copied else None)
    return keys


def _similar(looks: Looks, one: int, other: int, has_look: np.ndarray) -> bool:
    if not (has_look[one] and has_look[other]):
        return bool((looks.digests[one] == looks.digests[other]).all())
    return bool(differences(looks.thumbnails[[one]], looks.thumbnails[[other]])[0][0] <= NEIGHBOURS)


def _sequences(pictures: Pictures, origins: Sequence[Origin], has_look: np.ndarray) -> Iterable[tuple[int, int]]:
    """Pairs of pictures that follow one another by number and resemble one another. Where those that are far apart do
    so as well, a camera or a subject is always the same, and it means nothing."""
    families: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for index, origin in enumerate(origins):
        numbered = number_in(origin.picture) if has_look[index] else None
        if numbered is not None:
            families[int(pictures.channels[index]), numbered[0]].append((numbered[1], index))
    thumbnails = pictures.looks.thumbnails
    for family in families.values():
        indices = np.array([index for _, index in sorted(family)])
        if len(indices) < 2:
            continue
        apart = differences(thumbnails[indices[:-1]], thumbnails[indices[1:]])[0]
        half = len(indices) // 2
        usual = int(np.median(differences(thumbnails[indices[:half]], thumbnails[indices[half : 2 * half]])[0]))
        near = apart <= (min(NEIGHBOURS, usual // 2) if len(indices) > 3 else NEIGHBOURS)
        yield from zip(indices[:-1][near].tolist(), indices[1:][near].tolist(), strict=True)


def _labels_of(keys: Sequence[Hashable | None], least: int = 2) -> np.ndarray:
    """int64 [N]: images with the same key get the same label; -1 for None, and for keys of less than `least`."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            members[key].append(index)
    labels = np.full(len(keys), -1, np.int64)
    for indices in members.values():
        if len(indices) >= least:
            labels[indices] = indices[0]
    return labels


def _links(labels: Iterable[np.ndarray]) -> Iterable[tuple[int, int]]:
    """Pairs that put together what any of the labels, int64 [N], puts together."""
    for column in labels:
        order = np.argsort(column, kind="stable")
        yield from (
            (int(one), int(other))
            for one, other in pairwise(order)
            if column[one] == column[other] and column[one] >= 0
        )


def _joined(count: int, pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """int64 [N]: the lowest index that each image is connected with, -1 for one that is with no other."""
    parents = list(range(count))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    labels = np.array([root(index) for index in range(count)], np.int64)
    return np.where(np.bincount(labels, minlength=count)[labels] > 1, labels, -1)


def _singled(labels: np.ndarray) -> np.ndarray:
    """With the index of an image for -1: a label of its own, as the others are indices of their own members."""
    return np.where(labels < 0, np.arange(len(labels)), labels)
