"""What may be unpacked, and that nothing is written of what may not."""

import errno
import gzip
import io
import os
import random
import shutil
import tarfile
from collections import namedtuple

import pytest
from made_weights import bounded, make_tree, pack, pack_entry

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.weights.archive import unpack


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def refusal(archive, target, limits=None, kind=UserError):
    with bounded(**(limits or {})), pytest.raises(kind) as raised:
        unpack(archive, "weights", target)
    assert list(target.iterdir()) == []
    assert not (target.parent / "evil").exists()
    return str(raised.value)


def test_files_come_out_as_they_went_in(tmp_path, target):
    tree = make_tree(tmp_path / "ssd", "checkpoint/ckpt-0.index", "pipeline.config")
    (tree / "data").write_bytes(random.Random(0).randbytes(3_000_000))
    unpack(pack(tmp_path / "a.tar.gz", tree), "weights", target)
    assert (target / "ssd/data").read_bytes() == (tree / "data").read_bytes()
    assert (target / "ssd/checkpoint/ckpt-0.index").read_text() == "checkpoint/ckpt-0.index"


@pytest.mark.parametrize(
    ("name", "attributes", "found"),
    [
        ("../evil", {"size": 4}, "lies outside the archive's own folder"),
        ("a/../../evil", {"size": 4}, "lies outside the archive's own folder"),
        ("/evil", {"size": 4}, "lies outside the archive's own folder"),
        ("evil", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link"),
        ("inside", {"type": tarfile.SYMTYPE, "linkname": "checkpoint"}, "is a link"),
        ("evil", {"type": tarfile.LNKTYPE, "linkname": "checkpoint/ckpt-0.index"}, "is a link"),
        ("evil", {"type": tarfile.FIFOTYPE}, "is neither a file nor a folder"),
        ("evil", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "is neither a file nor a folder"),
    ],
)
def test_an_entry_that_may_not_be_unpacked_is_named(tmp_path, target, name, attributes, found):
    archive = pack_entry(tmp_path / "model.tar.gz", name, **attributes)
    assert refusal(archive, target) == (
        f"weights: model.tar.gz holds {name!r}, which {found}; expected plain files and folders below the archive's "
        "own folder: pack the model again"
    )


def test_a_bomb_of_entries_ends_early(tmp_path, target):
    archive = pack(tmp_path / "a.tar.gz", make_tree(tmp_path / "tree", *(f"file-{n}" for n in range(9))))
    assert refusal(archive, target, {"MAX_ENTRIES": 5}) == (
        "weights: a.tar.gz holds more than 5 files and folders, which are no weights; give the files of one model alone"
    )


def test_a_bomb_of_bytes_ends_early(tmp_path, target):
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb") as stream:
        for size in (10**6, 20 * 2**30):  # the second is never read: it is not even there
            entry = tarfile.TarInfo("zeros")
            entry.size = size
            stream.write(entry.tobuf(tarfile.GNU_FORMAT))
            stream.write(bytes(tarfile.BLOCKSIZE * -(-(10**6) // tarfile.BLOCKSIZE)))
    assert refusal(archive, target) == (
        "weights: a.tar.gz holds more than 10737.4 MB, which are no weights; give the files of one model alone"
    )


def test_headers_as_large_as_a_bomb_are_not_read(tmp_path, target):
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb") as stream:
        stream.write(tarfile.TarInfo("first").tobuf())
        header = tarfile.TarInfo("name")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 * 2**30
        stream.write(header.tobuf(tarfile.GNU_FORMAT))
    assert refusal(archive, target) == (
        "weights: a.tar.gz cannot be unpacked (its headers have no end); expected a whole .tar.gz archive: copy it "
        "again"
    )


def test_no_entry_leads_back_to_what_was_read(tmp_path, target):
    header = bytearray(tarfile.TarInfo("loop").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)  # its size, as GNU's tar writes large ones
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * ord(" "))
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(header + bytes(1024)))
    assert "(its headers are damaged)" in refusal(archive, target)


def test_more_than_the_disk_has_room_for_is_not_begun(tmp_path, target, monkeypatch):
    tree = make_tree(tmp_path / "tree")
    (tree / "data").write_bytes(bytes(2_000_000))
    archive = pack(tmp_path / "a.tar.gz", tree)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    assert refusal(archive, target, kind=PlatformError) == (
        f"weights: a.tar.gz takes 2.0 MB, and {target} has 1.0 MB left; give the job a larger volume"
    )


def test_a_disk_that_fills_up_meanwhile_is_the_platforms_fault(tmp_path, target, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    archive = pack(tmp_path / "a.tar.gz", make_tree(tmp_path / "tree"))
    monkeypatch.setattr(tarfile.TarFile, "extractall", fill)
    assert refusal(archive, target, kind=PlatformError) == (
        f"weights: the disk is full while unpacking a.tar.gz below {tmp_path}; give the job a larger volume"
    )


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_cut_archive_is_refused_wherever_it_was_cut(tmp_path, target, share):
    tree = make_tree(tmp_path / "tree")
    (tree / "data").write_bytes(random.Random(0).randbytes(50_000))
    archive = pack(tmp_path / "cut.tar.gz", tree)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    assert refusal(archive, target) == (
        "weights: cut.tar.gz cannot be unpacked (Compressed file ended before the end-of-stream marker was reached); "
        "expected a whole .tar.gz archive: copy it again"
    )


def test_a_damaged_archive_is_refused_though_it_could_be_unpacked(tmp_path, target):
    tree = tmp_path / "tree"
    tree.mkdir()
    content = random.Random(0).randbytes(50_000)  # cannot be compressed, so that it lies there as it is
    (tree / "data").write_bytes(content)
    archive = pack(tmp_path / "bad.tar.gz", tree)
    packed = bytearray(archive.read_bytes())
    packed[packed.index(content[20_000:20_016])] ^= 1
    archive.write_bytes(packed)
    message = refusal(archive, target)
    assert message.startswith("weights: bad.tar.gz cannot be unpacked (CRC check failed 0x")
    assert message.endswith("); expected a whole .tar.gz archive: copy it again")


@pytest.mark.parametrize(
    "content",
    [b"not an archive", b"", b"\xfd7zXZ\x00 not xz", gzip.compress(b"no tar" * 200, mtime=0)],
    ids=["text", "empty", "xz", "no tar"],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, target, content):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(content)
    assert refusal(archive, target) == (
        "weights: model.tar.gz cannot be unpacked (it is no .tar.gz archive); expected a whole .tar.gz archive: copy "
        "it again"
    )


def pack_records(path, records, kind=tarfile.XHDTYPE, size=None):
    """An archive of a header with these records, and a file behind it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as opened:
        header = tarfile.TarInfo("records")
        header.type, header.size = kind, len(records) if size is None else size
        opened.addfile(header, io.BytesIO(records))
        opened.addfile(tarfile.TarInfo("checkpoint"))
    path.write_bytes(gzip.compress(content.getvalue()))
    return path


DAMAGED = (
    "weights: a.tar.gz cannot be unpacked (its headers are damaged); expected a whole .tar.gz archive: copy it again"
)


@pytest.mark.parametrize(
    "records",
    [b"1" * 1000, b"5 aa\n" * 100 + b"9 key=va\n", b"0 a=b\n", b"-7 a=b\n", b"99 a=b\n", b"7 a=bc\n" * 101],
    ids=["digits", "no value", "no length", "less than nothing", "beyond the end", "too many"],
)
def test_records_that_would_take_a_square_of_time_are_not_read(tmp_path, target, records):
    assert refusal(pack_records(tmp_path / "a.tar.gz", records), target) == DAMAGED


def test_records_for_all_files_are_few(tmp_path, target):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as opened:
        opened.addfile(tarfile.TarInfo("a" * 200))
    unpack_me = tmp_path / "long.tar.gz"
    unpack_me.write_bytes(gzip.compress(content.getvalue()))
    unpack(unpack_me, "weights", target)
    assert [path.name for path in target.iterdir()] == ["a" * 200]
    unpack(pack_records(tmp_path / "git.tar.gz", b"22 comment=made by us\n", tarfile.XGLTYPE), "weights", target)
    assert {path.name for path in target.iterdir()} == {"a" * 200, "checkpoint"}
