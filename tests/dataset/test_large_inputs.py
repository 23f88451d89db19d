"""Whatever users bring is read in a time that hardly grows faster than it does."""

import gc
import shutil
import time
from pathlib import Path

import pytest
from large_inputs import LARGE, Large, run

pytestmark = pytest.mark.slow
MOST_SECONDS_MORE = 0.1
"""What a busy machine adds, and what a reader does once."""


def seconds(large: Large, folder: Path, size: int) -> float:
    """Of the processor, the better of two tries."""
    taken = []
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        call = large.write(folder, size)
        gc.disable()  # a collection goes over all that the tests before have left
        before = time.process_time()
        run(call)
        taken.append(time.process_time() - before)
        gc.enable()
    return min(taken)


@pytest.mark.parametrize("large", LARGE, ids=lambda large: f"{large.reader}: {large.what}")
def test_time_grows_as_the_input_does(large: Large, tmp_path: Path) -> None:
    seconds(large, tmp_path / "n", 2)  # imports and caches
    once, twice, four = (seconds(large, tmp_path / "n", large.size * times) for times in (1, 2, 4))
    # In proportion is 4, n log n is 4 and a bit, the square is 16.
    assert four < 7 * once + MOST_SECONDS_MORE, f"{once:.3f}, {twice:.3f} and {four:.3f} seconds"
