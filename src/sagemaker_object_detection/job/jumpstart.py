"""SageMaker JumpStart's own training script, by which AWS's notebook and most code start the built-in algorithm.

Such a job is no script mode here: it is what this container trains. It is told by the name of the script and the
address that it comes from; under network isolation, where there is no address, by what the archive holds. Names and
addresses are those that the SageMaker Python SDK makes (sagemaker.jumpstart).
"""

import json
import posixpath
import re
import tarfile
import zlib
from itertools import islice
from pathlib import Path

from sagemaker_object_detection.files.regular import is_folder, read_regular
from sagemaker_object_detection.files.tar import members, open_tar_gz

SCRIPT = "transfer_learning.py"
_ADDRESS = re.compile(
    r"s3://jumpstart-(?:private-)?cache-[a-z]+-[a-z0-9-]+/(?:[^/]+/)*tensorflow/transfer_learning/od1/\S*"
)
"""AWS keeps one such bucket in each region, and the script of this algorithm under od1."""
_MARK = "object_detection"
"""The package of the Object Detection API, which that script brings with it."""
_MOST_MEMBERS = 10_000
"""Of an archive, that are looked at."""
_MOST_BYTES = 2**30
"""Of an archive that is looked at: JumpStart's has some megabytes."""
_MOST_SOURCES = 2**20
"""Bytes of sourcecode.json."""


def is_own_address(address: str) -> bool:
    """Whether JumpStart's training script of this algorithm lies at this address."""
    return _ADDRESS.fullmatch(address) is not None


def is_own_code(program: str, source: str, archive: Path) -> bool:
    """Whether a job's script is JumpStart's training script of this algorithm.

    Args:
        program: the name of the script.
        source: where its code lies: an address, or a path in the container.
        archive: that path on this machine, where `source` is one.
    """
    if posixpath.normpath(program) != SCRIPT:
        return False
    return is_own_address(source) or (not re.match(r"\w+://", source) and _holds_the_script(archive))


def is_own_source(sources: Path, code: Path) -> bool:
    """The same of a job of the SDK's v3, which says in a file what it runs.

    Args:
        sources: `sourcecode.json`, with the keys source_dir and entry_script.
        code: the folder that its code is in.
    """
    try:
        described = json.loads(read_regular(sources, _MOST_SOURCES))
        program, source = described["entry_script"], described["source_dir"]
        if program is None and SCRIPT in described["command"]:
            program = SCRIPT
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return isinstance(source, str) and is_own_code(str(program), source, code / source.rpartition("/")[2])


def _holds_the_script(archive: Path) -> bool:
    """A hostile archive costs no more than its first members, of which nothing is unpacked."""
    folders: set[str] = set()
    script, size = False, 0
    try:
        if is_folder(archive):
            return (archive / SCRIPT).is_file() and (archive / _MARK).is_dir()
        with open_tar_gz(archive, _MOST_BYTES) as (opened, _):
            for member in islice(members(opened), _MOST_MEMBERS):
                size += member.size
                if size > _MOST_BYTES:
                    return False
                parts = Path(member.name).parts
                script |= parts == (SCRIPT,) and member.isfile()
                folders.update(parts[:1])
    except (OSError, tarfile.TarError, zlib.error, EOFError, ValueError, RecursionError):
        return False
    return script and _MARK in folders
