"""Which source wins, what a tree of weights looks like, and what is said of everything else on this machine."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from made_weights import WAYS, make_tree, make_weights, pack, pack_entry, send, serving

from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL, find
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.weights.sources import find_source, source_at


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with nothing baked in and nothing in the cache."""
    monkeypatch.setenv("SAGEMAKER_OD_WEIGHTS_DIR", str(tmp_path / "machine/baked"))
    monkeypatch.setenv("SAGEMAKER_OD_CACHE_DIR", str(tmp_path / "machine/cache"))
    return tmp_path / "machine"


def fetch(pretrained_weights, channel=None):
    return find_source(str(pretrained_weights), channel).fetch()


def test_model_channel_comes_before_pretrained_weights(tmp_path):
    channel = make_tree(tmp_path / "model")
    found = fetch(make_tree(tmp_path / "other"), channel)
    assert found.checkpoint == channel / "checkpoint/ckpt-0"
    assert found.origin == f'channel "model" ({channel})'
    assert found.artifact is None


def test_none_means_random_weights():
    assert find_source("None", None).fetch() is None


def test_auto_looks_into_the_image_then_the_cache_then_at_what_is_published(machine):
    handle = DEFAULT_MODEL.weights.hub_handle
    remote = find_source("auto", None)
    assert (remote.origin, remote.address) == (f'pretrained_weights="auto" ({handle})', handle)

    place = machine / "cache" / hashlib.sha256(handle.encode()).hexdigest()
    make_tree(place, "saved_model.pb", "variables/variables.index")
    cached = find_source("AUTO", None)
    assert (cached.address, cached.weights.checkpoint) == (None, place / "variables/variables")

    baked = make_tree(machine / "baked" / DEFAULT_MODEL.name)
    found = find_source("auto", None).fetch()
    assert (found.origin, found.checkpoint) == (f'pretrained_weights="auto" ({baked})', baked / "checkpoint/ckpt-0")


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_auto_looks_for_the_model_that_is_asked_for(machine, base):
    assert find_source("auto", None, base.name).address == base.weights.hub_handle
    baked = make_tree(machine / "baked" / base.name, "variables/variables.index")
    assert find_source("auto", None, base.model_id).fetch().checkpoint == baked / "variables/variables"


@pytest.mark.parametrize(
    ("names", "checkpoint"),
    [
        (("ckpt-0.index",), "ckpt-0"),
        (("ckpt-9.index", "ckpt-10.index", "ckpt-x.index"), "ckpt-10"),
        (("ssd_x/checkpoint/ckpt-0.index", ".hidden/x"), "ssd_x/checkpoint/ckpt-0"),
        (("checkpoint/ckpt-0.index", "saved_model/variables/variables.index"), "checkpoint/ckpt-0"),
        (("checkpoint/ckpt-0.index", "ckpt-7.index"), "checkpoint/ckpt-0"),
        (("saved_model/variables/variables.index", "saved_model/saved_model.pb"), "saved_model/variables/variables"),
        (("saved_model.pb", "variables/variables.index"), "variables/variables"),
        (("hub_x/saved_model.pb", "hub_x/variables/variables.index"), "hub_x/variables/variables"),
    ],
)
@pytest.mark.parametrize("configured", [False, True])
def test_checkpoint_is_found_where_published_trees_have_it(tmp_path, names, checkpoint, configured):
    folder = make_tree(tmp_path / "weights", *names)
    configuration = next(
        folder / parent / "pipeline.config" for parent in ("ssd_x", "hub_x", ".") if (folder / parent).is_dir()
    )
    if configured:
        configuration.touch()
    found = fetch(folder)
    assert (found.checkpoint, found.artifact) == (folder / checkpoint, None)
    assert found.pipeline_config == (configuration if configured else None)


def test_own_artifact_is_known_by_its_description(tmp_path):
    folder = make_tree(tmp_path / "artifact", "model_info.json", "1/saved_model.pb", "checkpoint/ckpt-0.index")
    found = fetch(folder)
    assert (found.artifact, found.checkpoint) == (folder, None)


def test_archive_on_the_channel_is_unpacked_and_deleted_with_the_result(tmp_path):
    channel = tmp_path / "model"
    channel.mkdir()
    pack(channel / "model.tar.gz", make_tree(tmp_path / "ssd"))
    found = find_source("auto", channel).fetch()
    prefix = found.checkpoint
    assert prefix.with_suffix(".index").is_file()
    assert (prefix.parts[-3:], channel in prefix.parents) == (("ssd", "checkpoint", "ckpt-0"), False)
    del found
    assert not prefix.parent.exists()


def test_archive_can_be_given_as_a_path(tmp_path):
    archive = pack(tmp_path / "weights.tar.gz", make_tree(tmp_path / "tree", "model_info.json"))
    assert fetch(archive).artifact.name == "tree"


def test_an_archive_is_not_unpacked_before_it_is_fetched(tmp_path):
    archive = pack_entry(tmp_path / "evil.tar.gz", "../evil.txt", size=4)
    source = find_source(str(archive), None)
    with pytest.raises(UserError) as raised:
        source.fetch()
    assert str(raised.value) == (
        f"pretrained_weights=\"{archive}\": evil.tar.gz holds '../evil.txt', which lies outside the archive's own "
        "folder; expected plain files and folders below the archive's own folder: pack the model again"
    )


def test_a_cache_that_cannot_be_written_to_is_done_without(tmp_path, machine, monkeypatch):
    machine.mkdir()
    (machine / "cache").write_text("not a folder")
    served = pack(tmp_path / "h.tar.gz", make_weights(tmp_path / "hub", "variables/variables.index"), ".").read_bytes()
    with serving(lambda request: send(request, served)) as host:
        found = source_at(f"{host.address}/m/1", "hub").fetch()
    prefix = found.checkpoint
    assert prefix.with_suffix(".index").is_file()
    del found
    assert not prefix.parent.exists()


def refusal(pretrained_weights, channel: Path | None = None) -> str:
    with pytest.raises(UserError) as raised:
        find_source(str(pretrained_weights), channel)
    return str(raised.value)


@pytest.mark.parametrize("address", ["gs://bucket/model", "hf://user/model", "file:///model.tar.gz", "kaggle://a/b"])
def test_addresses_of_another_kind_are_refused(address):
    assert refusal(address) == (
        f'pretrained_weights="{address}": addresses of this kind are not fetched; expected a TensorFlow Hub or Kaggle '
        "handle (https://...), s3://bucket/key, or a path without a scheme"
    )


def test_missing_path_is_named(tmp_path):
    assert refusal(tmp_path / "none-such") == (
        f'pretrained_weights="{tmp_path}/none-such": there is no such folder or file; {WAYS}'
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), "nothing"),
        ((".DS_Store", "__MACOSX", "._model.tar.gz"), "nothing"),
        (("a.txt", "b.txt"), "a.txt, b.txt"),
        (("x.tar.gz", "y.tgz"), "x.tar.gz, y.tgz"),
        (("ssd/a.txt", "ssd/b/c.txt"), "a.txt, b"),
    ],
)
def test_folder_without_weights_is_refused_with_what_it_holds(tmp_path, names, found):
    channel = tmp_path / "model"
    channel.mkdir()
    for name in names:
        make_tree(channel, name)
    assert refusal("auto", channel) == (
        f'channel "model" ({channel}): found {found}, which are no weights; expected model_info.json (a model of this '
        "algorithm), checkpoint/ckpt-0.index (a Model Garden checkpoint), variables/variables.index (a SavedModel of "
        "one), or one .tar.gz or .tgz of these"
    )


@pytest.mark.parametrize("litter", [(".DS_Store", "._model.tar.gz", "__MACOSX/._model.tar.gz"), ()])
@pytest.mark.parametrize("name", ["model.tar.gz", "model.tgz", "job/output/model.tar.gz"])
def test_the_one_archive_in_a_folder_is_used(tmp_path, litter, name):
    tree = make_tree(tmp_path / "tree", "checkpoint/ckpt-0.index", *(f"__MACOSX/{path}" for path in litter))
    channel = make_tree(tmp_path / "channel", *(("readme.txt",) if "/" not in name else ()), *litter)
    (channel / name).parent.mkdir(parents=True, exist_ok=True)
    pack(channel / name, tree, ".")
    assert find_source("auto", channel).fetch().checkpoint.parts[-2:] == ("checkpoint", "ckpt-0")


def test_what_a_desktop_leaves_beside_the_only_folder_is_not_looked_at(tmp_path):
    folder = make_tree(tmp_path / "x", "ssd/checkpoint/ckpt-0.index", ".DS_Store", "__MACOSX/ssd/._checkpoint", "._ssd")
    assert fetch(folder).checkpoint == folder / "ssd/checkpoint/ckpt-0"


def test_a_file_in_the_place_of_the_model_channel_is_an_archive(tmp_path):
    archive = pack(tmp_path / "model", make_tree(tmp_path / "tree"))
    assert find_source("auto", archive).fetch().checkpoint.name == "ckpt-0"


@pytest.mark.parametrize("as_path", [True, False])
def test_an_archive_inside_an_archive_is_refused_with_where_it_lies(tmp_path, as_path):
    inner = make_tree(tmp_path / "outer", "readme.txt")
    pack(inner / "inner.tar.gz", make_tree(tmp_path / "ssd"))
    channel = tmp_path / "channel"
    channel.mkdir()
    archive = pack(channel / "model.tar.gz", inner)
    source = find_source(str(archive), None) if as_path else find_source("auto", channel)
    with pytest.raises(UserError) as raised:
        source.fetch()
    assert str(raised.value) == (
        f"{source.origin}: the archive holds another one, outer/inner.tar.gz; expected the files of a model in it: "
        "give the inner archive instead"
    )


def test_an_archive_without_weights_is_told_what_could_have_been_in_it(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", make_tree(tmp_path / "outer", "x.tar.gz", "y.tar.gz"))
    with pytest.raises(UserError) as raised:
        find_source(str(archive), None).fetch()
    assert str(raised.value) == (
        f'pretrained_weights="{archive}": found x.tar.gz, y.tar.gz, which are no weights; expected model_info.json (a '
        "model of this algorithm), checkpoint/ckpt-0.index (a Model Garden checkpoint), or variables/variables.index "
        "(a SavedModel of one)"
    )


SMALL, LARGE = find("ssd_resnet50_v1_fpn_640x640"), find("ssd_resnet50_v1_fpn_1024x1024")


@pytest.mark.parametrize("name", [LARGE.name, LARGE.weights.tarball])
def test_a_folder_or_an_archive_may_be_named_for_a_base_model(tmp_path, name):
    folder = make_tree(tmp_path / name)
    assert fetch(folder).named_as == LARGE
    assert fetch(folder / "checkpoint").named_as is None
    (tmp_path / "channel").mkdir()
    assert fetch("auto", pack(tmp_path / "channel/model.tar.gz", folder)).named_as == LARGE
    flat = tmp_path / "flat"
    flat.mkdir()
    archive = pack(flat / f"{name}.tgz", folder, ".")
    assert (fetch(archive).named_as, fetch("auto", flat).named_as) == (LARGE, LARGE)
    assert fetch(make_tree(tmp_path / "other" / LARGE.name, f"{SMALL.weights.tarball}/ckpt-0.index")).named_as == SMALL
    assert fetch(make_tree(tmp_path / "artifact" / name, "model_info.json")).named_as == LARGE


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_a_handle_names_its_base_model_and_goes_on_doing_so_from_the_cache(machine, base):
    named = find_source(base.weights.hub_handle, None).named_as
    assert (named.weights, named.is_published) == (base.weights, True)
    make_weights(cached(machine, base.weights.hub_handle), "variables/variables.index")
    assert find_source(base.weights.hub_handle, None).fetch().named_as == named


def test_jumpstarts_archive_on_the_model_channel_is_read_and_names_its_size(tmp_path):
    """As AWS's notebook gives it as model_uri, in the layout that JumpStart's public scripts for TensorFlow read."""
    channel = tmp_path / "model"
    channel.mkdir()
    tree = make_weights(tmp_path / "tree", "1/variables/variables.index", "1/saved_model.pb", "__models_info__.json")
    pack(channel / f"train-{LARGE.weights.jumpstart_id}.tar.gz", tree, ".")
    found = find_source("auto", channel).fetch()
    assert found.checkpoint.parts[-3:] == ("1", "variables", "variables")
    assert (found.named_as, found.artifact) == (LARGE, None)


def cached(machine, address):
    return machine / "cache" / hashlib.sha256(address.encode()).hexdigest()


@pytest.mark.parametrize("damage", ["empty", "index", "data", "description"])
def test_a_copy_that_is_damaged_is_told_with_where_it_lies(machine, damage):
    address = "https://host/model/1"
    place = cached(machine, address)
    place.mkdir(parents=True)
    if damage == "description":
        make_weights(place, "1/variables/variables.index", "model_info.json")
    elif damage != "empty":
        make_weights(place, "variables/variables.index")
        file = place / ("variables/variables.index" if damage == "index" else "variables/variables.data-00000-of-00001")
        file.write_bytes(file.read_bytes()[:-1000] + bytes(1000))
    with pytest.raises(UserError) as raised:
        source_at(address, "weights").fetch()
    found = {
        "empty": "found nothing",
        "description": "model_info.json describes no model",
    }.get(damage, "the checkpoint cannot be read (")
    assert str(raised.value).startswith(f"weights: {found}")
    assert str(raised.value).endswith(f"; delete {place}, which was fetched before, to fetch it anew")
    assert "expected" not in str(raised.value)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("http://user:secret@host/model", "http://...@host/model"),
        ("https://secret@host/model", "https://...@host/model"),
        ("HTTPS://user:se/cr@et@host:80/model", "HTTPS://...@host:80/model"),
        ("s3://key:secret@bucket/model", "s3://...@bucket/model"),
        ("ftp://user:secret@host/model", "ftp://...@host/model"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(place, told):
    message = refusal(place)
    assert message.startswith(f'pretrained_weights="{told}": ')
    assert "cr" not in message.removeprefix(f'pretrained_weights="{told}"').replace("describe", "")
    if told.startswith("http:"):
        assert message == (
            f'pretrained_weights="{told}": holds a user name or a password, which are not sent anywhere; expected an '
            "address without them: remove them, or copy the archive to S3 or into a folder and give its place there"
        )


@pytest.mark.parametrize("content", [b"not an archive", b"", b"\xfd7zXZ\x00 not xz"])
def test_a_file_that_is_no_archive_is_refused_at_once(tmp_path, content):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(content)
    told = "model.tar.gz cannot be unpacked (it is no .tar.gz archive); expected a whole .tar.gz archive: copy it again"
    assert refusal(archive) == f'pretrained_weights="{archive}": {told}'
    assert refusal("auto", tmp_path) == f'channel "model" ({tmp_path}): {told}'


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar.gz")
    assert refusal(f"{tmp_path}/pipe.tar.gz") == (
        f'pretrained_weights="{tmp_path}/pipe.tar.gz": cannot be read (Is a pipe); expected a folder or an archive '
        "that the job may read: correct the path or its permissions"
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
        find_source("auto", tmp_path)
    if number == errno.EACCES:
        assert str(raised.value) == (
            f'channel "model" ({tmp_path}): cannot be read (Permission denied); expected a folder or an archive that '
            "the job may read: correct the path or its permissions"
        )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x" * 5000, '"5000 characters": cannot be read (File name too long); '),
        ("a\0b", r'"a\x00b": there is no such folder or file; '),
    ],
)
def test_a_path_that_cannot_be_is_refused(name, told):
    assert refusal(name).startswith(f"pretrained_weights={told}")
