"""Handles of TensorFlow Hub's kind, from a host on this machine that behaves and misbehaves as hosts do."""

import contextlib
import logging
import os
import socket
import threading

import pytest
from conftest import StopWhen
from made_checkpoints import SUFFIX, Checkpoint
from made_weights import WAYS, bounded, make_tree, make_weights, pack, pack_entry, pack_files, send, serving

from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.weights.sources import source_at

QUICK = {"SILENCE_SECONDS": 0.2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_OD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path):
    """A model as TensorFlow Hub hands it out: the SavedModel is the archive's root."""
    tree = make_weights(tmp_path / "published", "variables/variables.index", "saved_model.pb")
    return pack(tmp_path / "published.tar.gz", tree, ".").read_bytes()


def refusal(address, cache, kind=UserError, limits=None):
    """What fetching says without what it always begins and ends with, once it has left nothing behind."""
    origin = f'pretrained_weights="{address}"'
    with bounded(**(limits or {})), pytest.raises(kind) as raised:
        source_at(address, origin).fetch()
    assert not cache.exists() or list(cache.iterdir()) == []
    message = str(raised.value)
    assert message.startswith(f"{origin}: ")
    assert "\n" not in message
    return message.removeprefix(f"{origin}: ").removesuffix(f", or {WAYS}")


def test_a_handle_is_fetched_once_and_then_found_without_its_host(published, cache, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "/nonexistent/of-the-user")
    with serving(lambda request: send(request, published)) as host:
        handle = f"{host.address}/some/model/1"
        weights = source_at(handle, "hub").fetch()
    assert host.requests == ["GET /some/model/1?tf-hub-format=compressed"]
    assert not os.path.exists("/nonexistent")
    (folder,) = cache.iterdir()
    assert weights.checkpoint == folder / "variables/variables"
    assert (weights.origin, weights.artifact, weights.pipeline_config) == ("hub", None, None)
    assert sorted(path.name for path in folder.iterdir()) == ["saved_model.pb", "variables"]
    again = source_at(handle, "hub")
    assert (again.address, again.fetch().checkpoint) == (None, weights.checkpoint)


def test_what_is_not_to_be_kept_is_deleted_with_the_result(published, cache):
    with serving(lambda request: send(request, published)) as host:
        weights = source_at(f"{host.address}/some/model/1", "hub").fetch(keep=False)
    prefix = weights.checkpoint
    assert prefix.with_suffix(".index").is_file()
    assert not cache.exists()
    del weights
    assert not prefix.parent.exists()


def test_a_redirect_is_followed_as_tfhub_dev_redirects_to_kaggle(published, cache):
    def answer(request):
        if request.path.startswith("/moved"):
            send(request, published)
        else:
            send(request, b"", status=302, Location="/moved?x=1")

    with serving(answer) as host:
        assert source_at(f"{host.address}/some/model/1", "hub").fetch().checkpoint.name == "variables"
    assert host.requests == ["GET /some/model/1?tf-hub-format=compressed", "GET /moved?x=1"]


def test_redirects_in_a_circle_are_told_in_one_line(cache):
    with serving(lambda request: send(request, b"", status=302, Location="/some/model/1")) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "answers 302 again and again, in a circle; check the handle"
        )


@pytest.mark.parametrize(
    "target",
    ["ftp://127.0.0.1/model", "file:///etc/passwd", "http://user:secret@127.0.0.1/model", "data:,x", "/model\x1b[2J"],
)
def test_a_redirect_to_another_kind_of_address_is_refused_without_repeating_it(cache, target):
    with serving(lambda request: send(request, b"", status=302, Location=target)) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "answers 302 and names a place that is not fetched; expected one at http:// or https://, of printable "
            "characters, without a user name; check the handle"
        )


@pytest.mark.parametrize("target", ["http://[bad/model", "http://127.0.0.1:x/model", "http://a..b/model"])
def test_a_redirect_to_what_is_no_address_is_refused(cache, target):
    with serving(lambda request: send(request, b"", status=302, Location=target)) as host:
        assert refusal(f"{host.address}/some/model/1", cache).startswith("is, or leads to, what cannot be an address (")


def test_an_archive_without_entries_for_its_folders_is_unpacked(tmp_path, cache):
    tree = make_weights(tmp_path / "ssd", "saved_model/variables/variables.index", "pipeline.config")
    archive = pack_files(tmp_path / "files.tar.gz", tree).read_bytes()
    with serving(lambda request: send(request, archive)) as host:
        weights = source_at(f"{host.address}/some/model/1", "hub").fetch()
    (folder,) = cache.iterdir()
    assert weights.checkpoint == folder / "saved_model/variables/variables"


def test_a_handle_of_the_mirror_in_china_goes_to_the_address_that_tensorflow_hub_knows(published, cache, monkeypatch):
    from tensorflow_hub import compressed_module_resolver as hub

    with serving(lambda request: send(request, published)) as host:
        monkeypatch.setattr(hub, "_HUB_TF_GOOGLE_CN", f"{host.address}/")
        monkeypatch.setattr(hub, "_GCS_GOOGLE_CN_TEMPLATE", f"{host.address}/tfhub-modules/%s.tar.gz")
        source_at(f"{host.address}/some/model/1", "hub").fetch()
    assert host.requests == ["GET /tfhub-modules/some/model/1.tar.gz"]


def test_an_archive_inside_the_archive_is_refused(published, tmp_path, cache):
    tree = make_tree(tmp_path / "outer", "readme.txt")
    (tree / "inner.tgz").write_bytes(published)
    outer = pack(tmp_path / "outer.tar.gz", tree, ".").read_bytes()
    with serving(lambda request: send(request, outer)) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "the archive holds another one, inner.tgz; expected the files of a model in it: give the inner archive "
            "instead"
        )


@pytest.mark.parametrize("shape", [[-6], [2**62], [1] * 100])
def test_hostile_index_is_refused_and_not_kept(tmp_path, cache, shape):
    checkpoint = Checkpoint()
    checkpoint.variables[f"model{SUFFIX}".encode()].shape = shape
    checkpoint.write(tmp_path / "tree/variables/variables")
    archive = pack(tmp_path / "hostile.tar.gz", tmp_path / "tree", ".").read_bytes()
    with serving(lambda request: send(request, archive)) as host:
        told = refusal(f"{host.address}/some/model/1", cache)
    assert told.startswith(f"the checkpoint cannot be read (variable 'model{SUFFIX}' ")


def test_damaged_variables_are_refused_and_not_kept(tmp_path, cache):
    tree = make_weights(tmp_path / "ssd", "variables/variables.index")
    data = tree / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    archive = pack(tmp_path / "a.tar.gz", tree, ".").read_bytes()
    with serving(lambda request: send(request, archive)) as host:
        message = refusal(f"{host.address}/some/model/1", cache)
    assert message.startswith("the checkpoint cannot be read (")
    assert message.endswith(
        "; expected variables.index and every variables.data-* file as they were written: copy the folder again"
    )


def test_a_password_reaches_neither_a_host_nor_a_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    with caplog.at_level(logging.DEBUG), serving(lambda request: send(request, b"")) as host:
        address = host.address.replace("://", "://user:secret@")
        with pytest.raises(UserError) as raised:
            source_at(f"{address}/some/model/1", "hub")
    assert "secret" not in str(raised.value) + caplog.text
    assert host.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (404, UserError, "answers 404 Not Found: there is no such model; check the handle"),
        (403, UserError, "answers 403 Forbidden: it may not be fetched without signing in; check the handle"),
        (400, UserError, "answers 400 Bad Request instead of an archive; check the handle"),
        (429, PlatformError, "answers 429 Too Many Requests: the host cannot serve it now; start again"),
        (503, PlatformError, "answers 503 Service Unavailable: the host cannot serve it now; start again"),
    ],
)
def test_a_refusal_is_told_with_its_status(cache, status, kind, told):
    with serving(lambda request: send(request, b"no", status=status)) as host:
        assert refusal(f"{host.address}/some/model/1", cache, kind) == told


def test_a_page_instead_of_an_archive_is_told(cache):
    with serving(lambda request: send(request, b"<html>", Content_Type="text/html; charset=utf-8")) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "answers with text/html, which is no .tar.gz archive; check the handle"
        )


def test_a_connection_that_is_cut_is_told(published, cache):
    half = published[: len(published) // 2]
    with serving(lambda request: send(request, half, length=len(published))) as host:
        assert refusal(f"{host.address}/some/model/1", cache, PlatformError) == (
            "the connection broke before everything had arrived; start again"
        )


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_connection_that_is_cut_is_told_where_the_host_did_not_say_how_much_there_is(published, cache, share):
    half = published[: int(len(published) * share)]
    with serving(lambda request: send(request, half, length="")) as host:
        assert refusal(f"{host.address}/some/model/1", cache, PlatformError) == (
            "the connection broke before everything had arrived; start again"
        )


def test_a_host_need_not_say_how_much_there_is(published, cache):
    with serving(lambda request: send(request, published, length="")) as host:
        assert source_at(f"{host.address}/some/model/1", "hub").fetch().checkpoint.name == "variables"


def test_a_host_that_hangs_up_is_told(cache):
    with serving(lambda request: request.connection.shutdown(socket.SHUT_RDWR)) as host:
        assert refusal(f"{host.address}/some/model/1", cache, PlatformError) == (
            "the connection broke before everything had arrived; start again"
        )


@pytest.mark.parametrize("sent", [0, 1000])
def test_a_silent_host_is_given_up(published, cache, sent):
    def answer(request):
        if sent:
            send(request, published[:sent], length=len(published))
        host.closing.wait(10)

    with serving(answer) as host:
        assert refusal(f"{host.address}/some/model/1", cache, PlatformError, QUICK) == (
            "127.0.0.1 has sent nothing for 0.2 seconds; start again"
        )


def test_a_host_that_takes_too_long_is_given_up(published, cache):
    with serving(lambda request: send(request, published)) as host:
        told = refusal(f"{host.address}/some/model/1", cache, PlatformError, {"TOTAL_SECONDS": 0.0})
    assert told == "only 0.0 MB have arrived in 0 minutes; start again"


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize(
    ("first", "piece"),
    [(b"HTTP/1.1 200 OK\r\n\r\n\x1f\x8b", b"."), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["body", "headers"],
)
def test_a_host_that_drips_without_end_is_given_up_and_a_stop_is_noticed(cache, first, piece, stopped):
    begun = threading.Event()

    def answer(request):
        begun.set()
        request.wfile.write(first)
        with contextlib.suppress(OSError):  # once nobody is there any more
            while not host.closing.wait(0.001):
                request.wfile.write(piece)

    with serving(answer) as host:
        address = f"{host.address}/some/model/1"
        if stopped:
            with pytest.raises(StoppedError):
                source_at(address, "hub").fetch(StopWhen(begun.is_set))
            assert list(cache.iterdir()) == []
        else:
            told = refusal(address, cache, PlatformError, {"TOTAL_SECONDS": 0.05})
            assert told == "only 0.0 MB have arrived in 0 minutes; start again"


def test_more_than_weights_can_be_is_given_up(published, cache):
    with serving(lambda request: send(request, published)) as host:
        told = refusal(f"{host.address}/some/model/1", cache, limits={"MAX_BYTES": 100_000})
    assert told == "more than 0.1 MB have arrived, which are no weights; check the address"


def test_a_stop_is_no_fault_of_the_host_that_was_waited_for(cache):
    stopped = threading.Event()

    def answer(request):
        stopped.set()
        host.closing.wait(10)

    with serving(answer) as host, bounded(**QUICK), pytest.raises(StoppedError):
        source_at(f"{host.address}/some/model/1", "hub").fetch(StopWhen(stopped.is_set))


@pytest.mark.parametrize("before", [0, 1])
def test_a_stop_ends_the_transfer_and_leaves_nothing(published, cache, before):
    with serving(lambda request: send(request, published)) as host, pytest.raises(StoppedError):
        source_at(f"{host.address}/some/model/1", "hub").fetch(StopWhen(lambda: len(host.requests) >= before))
    assert len(host.requests) == before
    assert not cache.exists() or list(cache.iterdir()) == []


def test_an_interruption_leaves_nothing(published, cache):
    def interrupt():
        raise KeyboardInterrupt

    asked = iter([lambda: False, interrupt, interrupt])
    with serving(lambda request: send(request, published)) as host, pytest.raises(KeyboardInterrupt):
        source_at(f"{host.address}/some/model/1", "hub").fetch(StopWhen(lambda: next(asked)()))
    assert list(cache.iterdir()) == []


def test_a_host_that_is_not_there_is_told(cache):
    with serving(lambda request: None) as host:
        address = host.address
    assert refusal(f"{address}/some/model/1", cache) == (
        "127.0.0.1 cannot be reached (Connection refused): it is not there or the job has no network; check the handle "
        "and the job's VPC"
    )


def test_a_host_that_nobody_knows_is_told(cache, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert refusal("https://tfhub.example/some/model/1", cache) == (
        "the host tfhub.example cannot be found (Name or service not known): the address is misspelt or the job has no "
        "network; check the handle and the job's VPC"
    )


def test_a_redirect_to_a_host_that_nobody_knows_names_that_host(cache, monkeypatch):
    known = socket.getaddrinfo

    def partly(host, *rest, **named):
        if host == "files.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", partly)
    with serving(lambda request: send(request, b"", status=302, Location="https://files.example/m")) as host:
        assert refusal(f"{host.address}/some/model/1", cache).startswith("the host files.example cannot be found (")


def test_a_host_without_encryption_is_told(cache):
    with serving(lambda request: None) as host:
        assert refusal(f"{host.address}/some/model/1".replace("http", "https"), cache) == (
            "no secure connection to 127.0.0.1 (WRONG_VERSION_NUMBER); check the handle and the job's proxy"
        )


def test_what_an_archive_may_not_hold_is_refused_before_it_is_unpacked(tmp_path, cache):
    evil = pack_entry(tmp_path / "evil.tar.gz", "../../evil", size=4).read_bytes()
    with serving(lambda request: send(request, evil)) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "download.tar.gz holds '../../evil', which lies outside the archive's own folder; expected plain files and "
            "folders below the archive's own folder: pack the model again"
        )
    assert not list(tmp_path.rglob("evil"))


def test_a_damaged_archive_is_refused(published, cache):
    with serving(lambda request: send(request, published[:-100])) as host:
        assert refusal(f"{host.address}/some/model/1", cache) == (
            "download.tar.gz cannot be unpacked (Compressed file ended before the end-of-stream marker was reached); "
            "expected a whole .tar.gz archive: copy it again"
        )


def test_an_archive_of_something_else_is_refused_and_not_kept(tmp_path, cache):
    other = pack(tmp_path / "other.tar.gz", make_tree(tmp_path / "other", "readme.txt"), ".").read_bytes()
    with serving(lambda request: send(request, other)) as host:
        assert refusal(f"{host.address}/some/model/1", cache).startswith("found readme.txt, which are no weights; ")


@pytest.mark.parametrize(
    "handle", ["https://", "https://tfhub.dev", "https://tfhub.dev/", "http://a b/c", "https://h:x/y", "https://h/ü"]
)
def test_what_cannot_be_a_handle_is_refused_at_once(handle):
    with pytest.raises(UserError) as raised:
        source_at(handle, "weights")
    assert str(raised.value) == (
        "weights: is no address of a model; expected a host and a path, as in "
        "https://tfhub.dev/tensorflow/efficientdet/d0/1"
    )
