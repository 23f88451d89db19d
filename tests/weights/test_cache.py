import errno
import os
import time
from pathlib import Path

import pytest

from sagemaker_object_detection.weights.cache import fetch_into_cache, fetch_into_temporary, find_cached

ADDRESS = "https://host/model/1"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_OD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(work, text="whole"):
    (work / "tree").mkdir()
    (work / "tree/file").write_text(text)
    return work / "tree"


def test_what_was_fetched_is_found_under_its_address_alone(cache):
    assert find_cached(ADDRESS) is None
    folder, temporary = fetch_into_cache(ADDRESS, fill)
    assert (find_cached(ADDRESS), temporary) == (folder, None)
    assert find_cached(ADDRESS + "0") is None
    assert find_cached("https://host/Model/1") is None
    assert list(cache.iterdir()) == [folder]
    assert cache.stat().st_mode & 0o777 == 0o700


def test_nothing_is_found_before_it_is_whole(cache):
    def look(work):
        tree = fill(work)
        assert find_cached(ADDRESS) is None
        return tree

    fetch_into_cache(ADDRESS, look)
    assert find_cached(ADDRESS) is not None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(cache, error):
    def fail(work):
        fill(work)
        raise error

    with pytest.raises(error):
        fetch_into_cache(ADDRESS, fail)
    assert list(cache.iterdir()) == []


def test_a_failure_without_a_cache_leaves_nothing_behind_either():
    used = []

    def fail(work):
        used.append(fill(work))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        fetch_into_temporary(fail)
    assert raised.traceback  # which still refers to everything
    assert not used[0].parent.exists()


def test_another_process_may_be_faster(cache):
    def overtaken(work):
        fetch_into_cache(ADDRESS, lambda other: fill(other, "the other's"))
        return fill(work)

    folder, _ = fetch_into_cache(ADDRESS, overtaken)
    assert (folder / "file").read_text() == "the other's"
    assert list(cache.iterdir()) == [folder]


@pytest.mark.parametrize(("number", "used"), [(errno.EROFS, True), (errno.EACCES, True), (errno.ENOSPC, False)])
def test_a_read_only_cache_is_done_without_and_a_full_disk_is_not(cache, monkeypatch, number, used):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    if not used:
        with pytest.raises(OSError, match="No space left"):
            fetch_into_cache(ADDRESS, lambda work: work)
        return
    folder, temporary = fetch_into_cache(ADDRESS, lambda work: work)
    assert folder == Path(temporary.name)
    assert not cache.exists()


def test_what_a_killed_process_has_left_is_deleted_once_nobody_can_be_using_it(cache):
    cache.mkdir()
    for name, age in {".fetching-old": 5400.0 + 60, ".fetching-new": 5400.0 - 60, "kept": 1e6}.items():
        (cache / name).mkdir()
        (cache / name / "download.tar.gz").write_text("half")
        then = time.time() - age
        os.utime(cache / name, (then, then))
    folder, _ = fetch_into_cache(ADDRESS, fill)
    assert sorted(path.name for path in cache.iterdir()) == sorted([".fetching-new", "kept", folder.name])
