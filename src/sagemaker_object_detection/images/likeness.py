"""What pictures look like, in some three hundred bytes each: enough to tell a copy from a picture that resembles it.

A picture is sampled to a grey thumbnail. Two thumbnails are compared by how each departs from its own mean, in units of
how much it departs on average, so that brightness and contrast do not matter. All of it is integer arithmetic: a job
that is restarted, and every host of one, comes to the same.

Measured: of the 65,703 pairs of the cards' photographs, and the 42,486 of BCCD's blood smears, those that differ by
less than ALIKE percent are the same scene; of other pictures one pair in a thousand differs by less than 50 percent.
"""

import hashlib
from functools import lru_cache

import numpy as np

SIDE = 16
"""Cells of a thumbnail along each side."""
_ROWS_OF_CELL = 4
"""Rows of pixels that a cell averages. Eight find more copies of finely striped pictures, and cost `check` a tenth."""
ALIKE = 18
"""Percent: up to here two pictures are the same one, encoded anew, scaled, brightened, or taken a moment later."""
_SAME_CELL = 75
"""Percent, by which no cell of theirs may differ: a fixed camera sees the same backdrop behind other things."""
NEIGHBOURS = 35
"""Percent: up to here pictures whose names follow one another may be of one sequence."""
_FLAT = 4 * SIDE**4
"""Of less contrast than four levels, a picture looks like every other one of its kind: snow, night, fog."""
_GRADIENT = 2
_MOST_BITS = 10
"""In which the hashes of two like pictures differ, of 64; those of unlike ones differ in some 32."""
_WINDOW = 30_000
"""So many pictures are compared with one another. Where there are more, each is with so many of like brightness."""
_ROWS = 64
_BLOCK = 128
"""Thumbnails that are looked at together: as many as a processor's cache has room for."""
_PARTNERS = 6
"""Pictures that one is compared with in detail. Copies of copies are found from one another."""


class Looks:
    """What N pictures look like, filled in while they are decoded, by any thread.

    digests: uint8 [N, 16], of the files' bytes. thumbnails: uint8 [N, SIDE, SIDE], grey, of the pixels as stored.
    seen: bool [N], which of them were good.
    """

    def __init__(self, count: int) -> None:
        self.digests = np.zeros((count, 16), np.uint8)
        self.thumbnails = np.zeros((count, SIDE, SIDE), np.uint8)
        self.seen = np.zeros(count, bool)

    def see(self, index: int, contents: bytes, image: np.ndarray) -> None:
        """Takes down picture `index`: the bytes of its file, and its pixels, uint8 [H, W, 3]."""
        self.digests[index] = np.frombuffer(hashlib.sha256(contents).digest()[:16], np.uint8)
        self.thumbnails[index] = thumbnail(image)
        self.seen[index] = True


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to uint8 [SIDE, SIDE]. Each cell is the mean of a few of its rows, not of all, which would cost
    as much as decoding."""
    rows, starts, values = _cells(*image.shape[:2])
    sums = image[rows].reshape(SIDE, _ROWS_OF_CELL, -1).sum(axis=1, dtype=np.uint16)
    cells = np.add.reduceat(sums, starts, axis=1, dtype=np.uint32)
    return np.asarray(cells // values, np.uint8)


@lru_cache(1024)
def _cells(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of pixels that are looked at, int64 [SIDE * _ROWS_OF_CELL]; where in one of them the cells begin, and
    how many numbers a cell has, uint32 [SIDE]."""
    rows = (2 * np.arange(SIDE * _ROWS_OF_CELL) + 1) * height // (2 * SIDE * _ROWS_OF_CELL)
    edges = np.arange(SIDE + 1) * width // SIDE
    # Where a picture is narrower than that, `reduceat` takes a single number for a cell.
    values = np.where(np.diff(edges) > 0, 3 * np.diff(edges), 1) * _ROWS_OF_CELL
    return rows, 3 * edges[:-1], values.astype(np.uint32)


def _departures(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How each cell departs from its thumbnail's mean, int64 [N, SIDE * SIDE], and the sums of that, int64 [N]; both in
    1/SIDE**2 of a level."""
    departures = thumbnails.reshape(len(thumbnails), SIDE**2).astype(np.int64)
    means = departures.sum(axis=1, keepdims=True)
    departures *= SIDE**2
    departures -= means
    return departures, np.abs(departures).sum(axis=1)


def has_contrast(thumbnails: np.ndarray) -> np.ndarray:
    """Which thumbnails, uint8 [N, SIDE, SIDE], say anything of their pictures: bool [N]."""
    parts = [_departures(thumbnails[start : start + _BLOCK])[1] for start in range(0, len(thumbnails), _BLOCK)]
    return np.concatenate([np.zeros(0, np.int64), *parts]) >= _FLAT


def differences(ones: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each of N thumbnails differs from another, uint8 [N, SIDE, SIDE]; all have contrast.

    Returns:
        on average and in the worst cell, percent of how much a cell departs from the mean, int64 [N].
    """
    whole, worst = np.zeros((2, len(ones)), np.int64)
    for start in range(0, len(ones), _BLOCK):
        part = slice(start, start + _BLOCK)
        (first, its_sum), (second, others_sum) = _departures(ones[part]), _departures(others[part])
        first *= others_sum[:, np.newaxis]
        second *= its_sum[:, np.newaxis]
        apart = np.abs(np.subtract(first, second, out=first), out=first)
        scale = its_sum * others_sum
        whole[part] = 100 * apart.sum(axis=1) // scale
        worst[part] = 100 * SIDE**2 * apart.max(axis=1) // scale
    return whole, worst


def alike(thumbnails: np.ndarray) -> np.ndarray:
    """Pairs of pictures that are nearly the same, also if one is mirrored or turned by a quarter.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE], all with contrast.

    Returns:
        int64 [P, 2], indices; of many that are alike not every pair, but enough to lead from each to every other.
    """
    return np.concatenate([_alike(thumbnails), _alike(_turned(thumbnails))])


def _turned(thumbnails: np.ndarray) -> np.ndarray:
    """Each thumbnail in that of its eight positions in which the brightest quarter is top left, and the top right one
    is brighter than the bottom left."""
    half = SIDE // 2
    found = thumbnails.copy()
    quarters = found.reshape(-1, 2, half, 2, half).sum(axis=(2, 4), dtype=np.int64).reshape(-1, 4)
    brightest = quarters.argmax(axis=1)
    found[brightest >= 2] = found[brightest >= 2, ::-1]
    found[brightest % 2 == 1] = found[brightest % 2 == 1, :, ::-1]
    leaning = found[:, half:, :half].sum(axis=(1, 2), dtype=np.int64) > found[:, :half, half:].sum(
        axis=(1, 2), dtype=np.int64
    )
    found[leaning] = found[leaning].transpose(0, 2, 1)
    return found


def _alike(thumbnails: np.ndarray) -> np.ndarray:
    count = len(thumbnails)
    # Copies are about as bright, so that they are the first to be compared in detail.
    order = np.argsort(thumbnails.sum(axis=(1, 2), dtype=np.int64), kind="stable")
    hashes = _hashes(thumbnails[order])
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, count - 1, _ROWS):
        rows, others = hashes[start : start + _ROWS], hashes[start + 1 : start + _ROWS + _WINDOW]
        near = np.bitwise_count(rows[:, np.newaxis] ^ others) <= _MOST_BITS
        near[:, :_ROWS] = np.triu(near[:, :_ROWS])  # those before it were compared with it
        row, column = np.divmod(np.flatnonzero(near), max(1, near.shape[1]))
        place_in_row = np.arange(len(row)) - np.searchsorted(row, row)
        few = place_in_row < _PARTNERS
        pairs = order[np.stack([start + row[few], start + 1 + column[few]], axis=1)]
        whole, worst = differences(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])
        found.append(pairs[(whole <= ALIKE) & (worst <= _SAME_CELL)])
    return np.concatenate(found)


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """uint64 [N]: of 64 places, whether it grows brighter from left to right (a "difference hash")."""
    rows = thumbnails.reshape(-1, SIDE // 2, 2, SIDE).sum(axis=2, dtype=np.int64)
    bits = rows[:, :, 1::2] - rows[:, :, ::2] > _GRADIENT
    return np.packbits(bits.reshape(len(thumbnails), 64), axis=1).view(np.uint64)[:, 0]
