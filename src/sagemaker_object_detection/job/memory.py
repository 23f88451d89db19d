"""How much of the machine's memory a job may take."""

import os
import shutil
from pathlib import Path

ROOT = Path("/")
"""Where dev/, proc/ and sys/ of the machine lie."""
_CGROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Of a container, version 2 and 1: folder, bytes it may take (2**63 or "max" where there is no limit), and takes."""

_TENSORFLOWS_LIMIT = "TF_MKL_ALLOC_MAX_BYTES"
"""What TensorFlow's allocator on CPUs with oneDNN goes by. Else it knows the machine's memory alone, not a container's
limit, and the system kills the process where there would have been an error that names what did not fit. What it has
once taken it keeps, for what it computes next."""
_BESIDE = 500_000_000
"""Bytes for what TensorFlow does not allocate so: Python, its own code, graphs."""


def limit_tensorflow() -> None:
    """Bounds what TensorFlow may allocate by what is free now. It must be called before anything is computed."""
    os.environ.setdefault(_TENSORFLOWS_LIMIT, str(_within(available_memory())))


def room_to_compute() -> int:
    """Bytes that TensorFlow may allocate, what it has already included."""
    text = os.environ.get(_TENSORFLOWS_LIMIT, "")
    return int(text) if text.isdigit() else _within(available_memory())


def _within(free: int) -> int:
    return max(free // 2, free * 9 // 10 - _BESIDE)


def memory_limit() -> int:
    """Bytes that all processes of this container may take: the machine's, or fewer."""
    limits = [_bytes(ROOT / folder / limit) for folder, limit, _ in _CGROUPS]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit in limits if limit is not None)])


def available_memory() -> int:
    """Bytes that are free now, and within this container's limit."""
    available = memory_limit()
    for line in _lines(ROOT / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            available = min(available, int(line.split()[1]) * 1024)
    for folder, limit_name, usage_name in _CGROUPS:
        limit, usage = (_bytes(ROOT / folder / name) for name in (limit_name, usage_name))
        if limit is None or usage is None:
            continue
        # Files that were read count as used, and make room when it is needed.
        files = [line.split()[1] for line in _lines(ROOT / folder / "memory.stat") if line.startswith("inactive_file ")]
        available = min(available, max(0, limit - usage + sum(map(int, files))))
    return available


def shared_memory() -> int | None:
    """Bytes that are free in /dev/shm; None where there is none."""
    try:
        return shutil.disk_usage(ROOT / "dev/shm").free
    except OSError:
        return None


def _bytes(path: Path) -> int | None:
    """None where the file is missing or says "max"."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
