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
