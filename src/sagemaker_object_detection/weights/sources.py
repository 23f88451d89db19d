"""Where the weights of a job lie."""

import errno
import lzma
import stat
import tarfile
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from sagemaker_object_detection.errors import PlatformError, UserError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
ARTIFACT_MARK = "model_info.json"
"""The file that marks a model directory of this container."""
_WAYS = (
    'put a model\'s files, or one model.tar.gz, on the "model" channel, give a path to them as pretrained_weights, or '
    'set pretrained_weights="none" to start from random weights'
)


@dataclass(frozen=True)
class Weights:
    """Files with weights: either `artifact` or `checkpoint` is set."""

    origin: str
    """For log lines and errors: what the user gave."""
    artifact: Path | None = None
    """Model directory of an earlier job of this algorithm: the folder that holds model_info.json."""
    checkpoint: Path | None = None
    """Prefix of a Model Garden checkpoint, such as .../checkpoint/ckpt-0."""
    unpacked: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)
    """Where an archive was unpacked: it is deleted with the last reference to this object."""


def find_weights(pretrained_weights: str, model_channel: Path | None) -> Weights | None:
    """The weights to start from; the first that is given, of the model channel and `pretrained_weights`.

    Args:
        pretrained_weights: "auto", "none", or the path of a folder or a .tar.gz archive.
        model_channel: folder of the `model` channel, or None where the job has none.

    Returns:
        None for random weights.

    Raises:
        UserError: nothing was found, or what was found is no tree of weights, may not be read, or is a damaged or
            dangerous archive.
    """
    if model_channel is not None:
        return _at(model_channel, f'channel "model" ({model_channel})')
    if pretrained_weights.lower() == "none":
        return None
    if pretrained_weights.lower() == "auto":
        raise UserError(f'pretrained_weights="auto" found no weights to start from: {_WAYS}')
    origin = f'pretrained_weights="{pretrained_weights}"'
    if "://" in pretrained_weights:
        raise UserError(
            f"{origin}: weights are not fetched from addresses; download them and put their files on the "
            '"model" channel'
        )
    return _at(Path(pretrained_weights), origin)


def _at(path: Path, origin: str) -> Weights:
    """The weights in a folder or an archive, or in the one archive that a folder holds."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a path with a zero byte is a ValueError
        raise UserError(f"{origin}: there is no such folder or file; {_WAYS}") from None
    except OSError as error:
        raise _unreadable(origin, error) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # opening a pipe would wait for ever
        raise UserError(f"{origin}: is a pipe, a device or a socket; expected a folder or a .tar.gz archive; {_WAYS}")
    try:
        return _found_at(path, origin)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise
        raise _unreadable(origin, error) from error


def _unreadable(origin: str, error: OSError) -> UserError:
    return UserError(
        f"{origin}: cannot be read ({error.strerror}); expected a folder or an archive that the job may read: correct "
        "the path or its permissions"
    )


def _found_at(path: Path, origin: str) -> Weights:
    if path.is_dir():
        found = _in_tree(path, origin)
        if found is not None:
            return found
        archives = sorted(path.glob("*.tar.gz"))
        if len(archives) != 1:
            raise _no_weights(path, origin)
        path = archives[0]
        if not path.is_file():
            raise _no_weights(path.parent, origin)
    folder = _unpack(path, origin)
    found = _in_tree(Path(folder.name), origin, folder)
    if found is None:
        raise _no_weights(Path(folder.name), origin)
    return found


def _unpack(archive: Path, origin: str) -> tempfile.TemporaryDirectory[str]:
    # A temporary folder, because a channel may be read-only.
    folder = tempfile.TemporaryDirectory(prefix="weights-")
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder.name, filter="data")
    except tarfile.FilterError as error:
        raise UserError(
            f"{origin}: {archive.name} holds an entry that must not be unpacked ({error}); expected plain files below "
            "the archive's own folder: pack the model again"
        ) from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise PlatformError(
                f"{origin}: the disk is full while unpacking {archive.name} below {tempfile.gettempdir()}; give the "
                "job a larger volume"
            ) from error
        raise UserError(
            f"{origin}: {archive.name} cannot be unpacked ({_reason(error)}); expected a whole .tar.gz archive: copy "
            "it again"
        ) from error
    return folder


def _reason(error: Exception) -> str:
    """One line. tarfile lists what each compression it tried had to say, over as many lines."""
    lines = str(error).splitlines()
    if len(lines) > 1:
        return "it is no tar archive"
    return (error.strerror if isinstance(error, OSError) else None) or "".join(lines) or "it is damaged"


def _in_tree(folder: Path, origin: str, unpacked: tempfile.TemporaryDirectory[str] | None = None) -> Weights | None:
    """The weights in a folder, or in its only subfolder: published archives hold one folder named for the model."""
    while True:
        if (folder / ARTIFACT_MARK).is_file():
            return Weights(origin, artifact=folder, unpacked=unpacked)
        for place in (folder / "checkpoint", folder):
            numbered = {
                int(number): place / f"ckpt-{number}"
                for number in (index.stem.removeprefix("ckpt-") for index in place.glob("ckpt-*.index"))
                if number.isdecimal()
            }
            if numbered:
                return Weights(origin, checkpoint=numbered[max(numbered)], unpacked=unpacked)
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return None
        folder = entries[0]


def _no_weights(folder: Path, origin: str) -> UserError:
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    found = f"{', '.join(names[:5])}{more}" if names else "nothing"
    return UserError(
        f"{origin}: found {found}, which are no weights; expected {ARTIFACT_MARK} (a model of this algorithm), "
        "checkpoint/ckpt-0.index (a Model Garden checkpoint), or one .tar.gz of either"
    )
