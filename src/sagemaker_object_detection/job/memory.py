"""How much of the machine's memory a job may take."""

import os
from pathlib import Path

_CGROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of a container: version 2, and version 1, which says 2**63 where there is none."""


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes that all processes of this container may take: the machine's, or fewer.

    Args:
        root: where sys/ of the machine lies.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that are free now, and not beyond this container's limit.

    Args:
        root: where proc/ and sys/ of the machine lie.
    """
    limit = memory_limit(root)
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return limit
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([limit, *available])
