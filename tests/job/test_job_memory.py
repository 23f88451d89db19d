import os
import shutil

import pytest

from sagemaker_object_detection.job import memory
from sagemaker_object_detection.job.memory import (
    available_memory,
    limit_tensorflow,
    memory_limit,
    room_to_compute,
    shared_memory,
)

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", MACHINE), ("1073741824\n", 2**30), (f"{2**63 - 4096}\n", MACHINE)]
)
def test_a_container_may_take_its_limit_and_else_all_of_the_machine(tmp_path, name, text, limit):
    assert memory_limit() == MACHINE
    path = tmp_path / "sys/fs/cgroup" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert memory_limit() == limit


def test_what_is_available_is_free_and_within_the_limit(tmp_path, monkeypatch):
    assert available_memory() == MACHINE
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4000 kB\nMemAvailable:    3000 kB\n")
    assert available_memory() == 3000 * 1024
    monkeypatch.undo()
    assert 0 < available_memory() <= MACHINE


@pytest.mark.parametrize(
    ("folder", "limit", "usage"),
    [
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_what_a_container_uses_is_not_available_but_for_files_it_has_read(tmp_path, folder, limit, usage):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / limit).write_text("2000000\n")
    assert available_memory() == 2_000_000
    (tmp_path / folder / usage).write_text("1500000\n")
    assert available_memory() == 500_000
    (tmp_path / folder / "memory.stat").write_text("anon 1200000\ninactive_file 300000\ninactive_file_more 7\n")
    assert available_memory() == 800_000
    (tmp_path / folder / usage).write_text("2400000\n")
    assert available_memory() == 0


def test_shared_memory_is_what_is_free_where_there_is_any(tmp_path):
    assert shared_memory() is None
    (tmp_path / "dev/shm").mkdir(parents=True)
    free = shared_memory()
    assert free is not None
    assert 0 <= free <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(("free", "room"), [(10 * 10**9, 8_500_000_000), (10**9, 500_000_000)])
def test_tensorflow_may_fill_most_of_what_is_free_when_it_begins(tmp_path, monkeypatch, free, room):
    monkeypatch.delenv("TF_MKL_ALLOC_MAX_BYTES", raising=False)
    monkeypatch.setattr(memory, "available_memory", lambda: free)
    assert room_to_compute() == room
    with monkeypatch.context() as changed:
        changed.setenv("TF_MKL_ALLOC_MAX_BYTES", "")  # so that it is restored
        del os.environ["TF_MKL_ALLOC_MAX_BYTES"]
        limit_tensorflow()
        changed.setattr(memory, "available_memory", lambda: 1)
        assert os.environ["TF_MKL_ALLOC_MAX_BYTES"] == str(room)
        assert room_to_compute() == room
