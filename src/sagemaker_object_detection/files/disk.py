"""Which errors of the operating system are the machine's fault, and not that of a path somebody gave."""

import errno

PLATFORM_ERRNOS = {
    errno.ENOSPC: "the disk is full: give the job a larger volume (volume_size)",
    errno.EDQUOT: "the disk quota is used up: give the job a larger volume (volume_size)",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.EIO: "a device failed: start the job again",
}
"""The machine's faults, and what to do about each."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FAULTS = (*DISK_FULL, errno.EIO)
"""Another name for the file would mend none of these. On a read-only file system it may."""
