import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.weights.sources import find_weights


def checkpoint_tree(folder: Path, *names: str) -> Path:
    for name in names or ("checkpoint/ckpt-0.index",):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, arcname=folder.name)
    return archive


def test_model_channel_comes_before_pretrained_weights(tmp_path):
    channel = checkpoint_tree(tmp_path / "model")
    found = find_weights(str(checkpoint_tree(tmp_path / "other")), channel)
    assert found.checkpoint == channel / "checkpoint/ckpt-0"
    assert found.origin == f'channel "model" ({channel})'
    assert found.artifact is None


@pytest.mark.parametrize(
    "names", [("ckpt-0.index",), ("ckpt-9.index", "ckpt-10.index"), ("ssd_x/checkpoint/ckpt-0.index",)]
)
def test_checkpoint_is_found_where_published_and_copied_trees_have_it(tmp_path, names):
    folder = checkpoint_tree(tmp_path / "weights", *names)
    assert find_weights(str(folder), None).checkpoint == folder / names[-1].removesuffix(".index")


def test_own_artifact_is_known_by_its_description(tmp_path):
    folder = checkpoint_tree(tmp_path / "artifact", "model_info.json", "1/saved_model.pb")
    found = find_weights(str(folder), None)
    assert (found.artifact, found.checkpoint) == (folder, None)


def test_archive_on_the_channel_is_unpacked_and_deleted_with_the_result(tmp_path):
    channel = tmp_path / "model"
    channel.mkdir()
    pack(channel / "model.tar.gz", checkpoint_tree(tmp_path / "ssd"))
    found = find_weights("auto", channel)
    prefix = found.checkpoint
    assert prefix.with_suffix(".index").is_file()
    assert (prefix.parts[-3:], channel in prefix.parents) == (("ssd", "checkpoint", "ckpt-0"), False)
    found.unpacked.cleanup()
    assert not prefix.parent.exists()


def test_archive_can_be_given_as_a_path(tmp_path):
    archive = pack(tmp_path / "weights.tar.gz", checkpoint_tree(tmp_path / "tree", "model_info.json"))
    assert find_weights(str(archive), None).artifact.name == "tree"


def test_none_means_random_weights():
    assert find_weights("none", None) is None


def refusal(pretrained_weights: str, channel: Path | None = None) -> str:
    with pytest.raises(UserError) as raised:
        find_weights(pretrained_weights, channel)
    return str(raised.value)


def test_nothing_found_lists_the_ways():
    assert refusal("auto") == (
        'pretrained_weights="auto" found no weights to start from: put a model\'s files, or one model.tar.gz, on the '
        '"model" channel, give a path to them as pretrained_weights, or set pretrained_weights="none" to start from '
        "random weights"
    )


@pytest.mark.parametrize("address", ["s3://bucket/model.tar.gz", "https://tfhub.dev/tensorflow/efficientdet/d0/1"])
def test_addresses_are_refused(address):
    assert refusal(address) == (
        f'pretrained_weights="{address}": weights are not fetched from addresses; download them and put their files on '
        'the "model" channel'
    )


def test_missing_path_is_named(tmp_path):
    assert refusal(str(tmp_path / "none-such")).startswith(
        f'pretrained_weights="{tmp_path}/none-such": there is no such folder or file; put a model\'s files'
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [((), "nothing"), (("a.txt", "b.txt"), "a.txt, b.txt"), (("x.tar.gz", "y.tar.gz"), "x.tar.gz, y.tar.gz")],
)
def test_folder_without_weights_is_refused_with_what_it_holds(tmp_path, names, found):
    for name in names:
        (tmp_path / name).touch()
    assert refusal("auto", tmp_path) == (
        f'channel "model" ({tmp_path}): found {found}, which are no weights; expected model_info.json (a model of this '
        "algorithm), checkpoint/ckpt-0.index (a Model Garden checkpoint), or one .tar.gz of either"
    )


def test_archive_that_reaches_outside_is_refused_and_writes_nothing(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        entry = tarfile.TarInfo("../evil.txt")
        entry.size = 4
        opened.addfile(entry, io.BytesIO(b"evil"))
    assert "evil.tar.gz holds an entry that must not be unpacked" in refusal(str(archive))


def test_cut_archive_is_refused(tmp_path):
    tree = checkpoint_tree(tmp_path / "tree")
    (tree / "data").write_bytes(bytes(range(256)) * 100)
    archive = pack(tmp_path / "cut.tar.gz", tree)
    archive.write_bytes(archive.read_bytes()[:200])
    assert refusal(str(archive)) == (
        f'pretrained_weights="{archive}": cut.tar.gz cannot be unpacked (Compressed file ended before the '
        "end-of-stream marker was reached); expected a whole .tar.gz archive: copy it again"
    )


@pytest.mark.parametrize("content", [b"not an archive", b"", b"\xfd7zXZ\x00 not xz"])
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path, content):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(content)
    assert refusal(str(archive)) == (
        f'pretrained_weights="{archive}": model.tar.gz cannot be unpacked (it is no tar archive); expected a whole '
        ".tar.gz archive: copy it again"
    )
    assert refusal("auto", tmp_path) == (
        f'channel "model" ({tmp_path}): model.tar.gz cannot be unpacked (it is no tar archive); expected a whole '
        ".tar.gz archive: copy it again"
    )


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar.gz")
    assert refusal(f"{tmp_path}/pipe.tar.gz").startswith(
        f'pretrained_weights="{tmp_path}/pipe.tar.gz": is a pipe, a device or a socket; expected a folder or a .tar.gz '
        "archive; put a model's files"
    )
    assert refusal("auto", tmp_path).startswith(
        f'channel "model" ({tmp_path}): found pipe.tar.gz, which are no weights'
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_a_folder_that_may_not_be_read_is_refused_and_a_full_disk_is_not_blamed_on_it(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError if number == errno.EACCES else OSError) as raised:
        find_weights("auto", tmp_path)
    if number == errno.EACCES:
        assert str(raised.value) == (
            f'channel "model" ({tmp_path}): cannot be read (Permission denied); expected a folder or an archive that '
            "the job may read: correct the path or its permissions"
        )


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_path_that_cannot_be_is_refused(name):
    reason = "there is no such folder or file" if "\0" in name else "cannot be read (File name too long)"
    assert refusal(name).startswith(f'pretrained_weights="{name}": {reason}; ')
