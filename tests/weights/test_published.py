"""Where a base model's published weights are fetched from: one place after the other, until one has them.

All three places are one host on this machine: a proxy for what lies at http://, and the endpoint of S3.
"""

import json
import logging
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import StopWhen
from made_weights import WAYS, Host, bounded, make_published, make_tree, pack, send, serving

from sagemaker_object_detection import fetch_weights
from sagemaker_object_detection.catalogue import CATALOGUE, DEFAULT_MODEL
from sagemaker_object_detection.errors import JobError, PlatformError, UserError
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.weights import sources
from sagemaker_object_detection.weights.jumpstart import find_region
from sagemaker_object_detection.weights.sources import Source, find_source, published

# A proxy sees nothing of what is asked at https://.
HUB = "http://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_320x320/1"
BASE = replace(DEFAULT_MODEL, weights=replace(DEFAULT_MODEL.weights, hub_handle=HUB))
ARCHIVE = BASE.weights.archive
MODEL = "tensorflow-od1-ssd-mobilenet-v2-fpnlite-320x320-coco17-tpu-8"
BUCKET = "jumpstart-cache-prod-us-west-2"
JUMPSTART = f"JumpStart's {MODEL} in s3://{BUCKET}"
KEY = f"tensorflow-training/v2.0.0/train-{MODEL}.tar.gz"
INDEX: list[Any] = [
    {"model_id": MODEL, "version": "9.0.0", "spec_key": "specs/9"},
    {"model_id": MODEL, "version": "10.0.1", "spec_key": "specs/10"},
    {"model_id": MODEL, "version": "11.x", "spec_key": "specs/11"},
    {"model_id": "another", "version": "12.0.0", "spec_key": "specs/12"},
    "no object",
]

Answer = Callable[[Any], object]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "find_region", lambda: "us-west-2")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "SAGEMAKER_OD_CACHE_DIR": tmp_path / "cache",
        "SAGEMAKER_OD_WEIGHTS_DIR": tmp_path / "baked",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": tmp_path / "none",
        "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "none",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The archive of each place, as that place packs it."""
    folder = tmp_path_factory.mktemp("forms")
    zoo = make_published(folder / BASE.weights.tarball, "checkpoint/ckpt-0.index")
    jumpstart = make_published(folder / "jumpstart", "1/variables/variables.index")
    make_tree(jumpstart, "__models_info__.json", "1/saved_model.pb")
    return {
        "hub": pack(folder / "hub.tar.gz", make_published(folder / "hub"), ".").read_bytes(),
        "archive": pack(folder / "zoo.tar.gz", zoo).read_bytes(),
        "jumpstart": pack(folder / "jumpstart.tar.gz", jumpstart, ".").read_bytes(),
    }


class World:
    """The network: `places` says what answers for each place."""

    host: Host

    def __init__(self, forms: dict[str, bytes]) -> None:
        def give(form: str) -> Answer:
            return lambda request: send(request, forms[form])

        self.places: dict[str, Answer] = {place: give(place) for place in ("hub", "archive", "jumpstart")}
        self.places["index"] = lambda request: send(request, json.dumps(INDEX).encode())
        self.places["specs/10"] = lambda request: send(request, json.dumps({"training_artifact_key": KEY}).encode())

    def name(self, path: str) -> str:
        known = {f"{HUB}?tf-hub-format=compressed": "hub", ARCHIVE: "archive"}
        key = path.removeprefix(f"/{BUCKET}/")
        return known.get(path) or {"models_manifest.json": "index", KEY: "jumpstart"}.get(key, key)

    def answer(self, request: Any) -> None:
        self.places.get(self.name(request.path), lambda request: send(request, b"", status=404))(request)


@pytest.fixture
def world(forms, monkeypatch):
    world = World(forms)
    with serving(world.answer) as host:
        monkeypatch.setenv("http_proxy", host.address)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        world.host = host
        yield world


def asked(world):
    """The places that were asked, in order."""
    return [world.name(request.split()[1]) for request in world.host.requests]


def source() -> Source:
    return published(BASE, 'pretrained_weights="auto"')


def status(code: int) -> Answer:
    return lambda request: send(request, b"", status=code)


def failing(kind: type[JobError], cache, stop=None) -> str:
    """What is said once every place has failed, and that nothing was left behind."""
    with pytest.raises(kind) as raised:
        source().fetch(*([stop] if stop else []))
    assert not cache.exists() or list(cache.iterdir()) == []
    assert "\n" not in str(raised.value)
    head, tried = str(raised.value).split(". Tried: ")
    assert head == f'pretrained_weights="auto": the weights cannot be fetched; {WAYS}'
    return tried


def test_hub_is_asked_first_and_alone_if_it_answers(world):
    weights = source().fetch()
    assert (weights.origin, weights.checkpoint.name) == (f'pretrained_weights="auto" ({HUB})', "variables")
    assert weights.named_as == DEFAULT_MODEL
    assert asked(world) == ["hub"]


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_every_base_model_has_three_places(base):
    found = find_source("auto", None, base.name)
    assert found.addresses == (
        base.weights.hub_handle,
        f"http://download.tensorflow.org/models/object_detection/tf2/20200711/{base.weights.tarball}.tar.gz",
        f"JumpStart's {base.model_id} in s3://{BUCKET}",
    )


def cut(request):
    send(request, b"\x1f\x8b", length=1000)


def other_model(tmp_path):
    tree = make_published(tmp_path / "other", kernel=(1, 1, 512, 512))
    return pack(tmp_path / "other.tar.gz", tree, ".").read_bytes()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(404), "answers 404 Not Found: there is no such model"),
        (status(503), "answers 503 Service Unavailable: the host cannot serve it now"),
        (
            lambda request: send(request, b"<html>moved", Content_Type="text/html"),
            "answers with text/html, which is no .tar.gz archive",
        ),
        (
            lambda request: send(request, b"", status=302, Location="ftp://elsewhere/m"),
            "answers 302 and names a place that is not fetched",
        ),
        (cut, "the connection broke before everything had arrived"),
        (
            lambda request: send(request, b"\x1f\x8b" * 9),
            "download.tar.gz cannot be unpacked (it is no .tar.gz archive)",
        ),
    ],
    ids=["404", "503", "page", "redirect", "cut", "damaged"],
)
def test_archive_of_the_model_garden_follows_and_the_log_says_why(world, caplog, monkeypatch, fault, reason):
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    world.places["hub"] = fault
    weights = source().fetch()
    assert weights.origin == f'pretrained_weights="auto" ({ARCHIVE})'
    assert weights.checkpoint.parts[-3:] == (BASE.weights.tarball, "checkpoint", "ckpt-0")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f'pretrained_weights="auto" ({HUB}): {reason}. Trying {ARCHIVE}.']
    assert asked(world) == ["hub", "archive"]

    # A job that is started again needs none of the places.
    world.host.requests.clear()
    again = source()
    assert (again.addresses, again.fetch().checkpoint) == ((), weights.checkpoint)
    assert asked(world) == []


def test_weights_of_another_model_are_not_taken_for_this_ones(world, tmp_path, cache):
    content = other_model(tmp_path)
    world.places["hub"] = lambda request: send(request, content)
    weights = source().fetch()
    assert weights.origin == f'pretrained_weights="auto" ({ARCHIVE})'
    assert len(list(cache.iterdir())) == 1


def test_model_that_was_trained_here_is_not_taken_for_a_base_model(world, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    tree = make_published(tmp_path / "own", "1/variables/variables.index")
    (tree / "model_info.json").write_text("{}")
    own = pack(tmp_path / "own.tar.gz", tree, ".").read_bytes()
    world.places["hub"] = lambda request: send(request, own)
    assert source().fetch().origin == f'pretrained_weights="auto" ({ARCHIVE})'
    assert "holds a model that was trained here" in caplog.text


def test_jumpstarts_newest_version_comes_last_and_without_credentials(world):
    world.places |= {"hub": status(404), "archive": status(404)}
    signatures = []
    index = world.places["index"]
    world.places["index"] = lambda request: (signatures.append(request.headers["Authorization"]), index(request))
    weights = source().fetch()
    assert weights.origin == f'pretrained_weights="auto" ({JUMPSTART})'
    assert weights.checkpoint.parts[-3:] == ("1", "variables", "variables")
    assert weights.named_as == DEFAULT_MODEL
    assert list(dict.fromkeys(asked(world))) == ["hub", "archive", "index", "specs/10", "jumpstart"]
    assert signatures == [None]
    assert source().addresses == ()


def test_bucket_that_lets_nobody_pass_unknown_is_asked_with_the_jobs_role(world, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    world.places |= {"hub": status(404), "archive": status(404)}
    index = world.places["index"]

    def guarded(request):
        (index if request.headers["Authorization"] else status(403))(request)

    world.places["index"] = guarded
    assert source().fetch().origin == f'pretrained_weights="auto" ({JUMPSTART})'
    assert asked(world)[2:4] == ["index", "index"]


ALL_GONE = {"hub": status(404), "archive": status(403)}
NO_HUB = f"(1) {HUB}: answers 404 Not Found: there is no such model"
NO_ARCHIVE = f"(2) {ARCHIVE}: answers 403 Forbidden: it may not be fetched without signing in"


@pytest.mark.parametrize(
    ("jumpstart", "reason"),
    [
        ({"index": status(403)}, "there are no AWS credentials to fetch it with"),
        ({"index": status(404)}, f"there is no such object in the bucket '{BUCKET}'"),
        ({"index": lambda request: send(request, b"[]")}, f"models_manifest.json does not name {MODEL}"),
        ({"index": lambda request: send(request, b"7")}, f"models_manifest.json does not name {MODEL}"),
        (
            {"index": lambda request: send(request, b"<html>")},
            "models_manifest.json is XML or a web page",
        ),
        ({"specs/10": status(404)}, f"there is no such object in the bucket '{BUCKET}'"),
        (
            {"specs/10": lambda request: send(request, b'{"training_artifact_key": 7}')},
            f"JumpStart has no weights of {MODEL} to train from",
        ),
        ({"jumpstart": status(404)}, f"there is no such object in the bucket '{BUCKET}'"),
    ],
)
def test_one_sentence_names_every_place_and_its_reason(world, cache, jumpstart, reason):
    world.places |= ALL_GONE | jumpstart
    assert failing(UserError, cache) == f"{NO_HUB}; {NO_ARCHIVE}; (3) {JUMPSTART}: {reason}"


def test_any_place_that_may_answer_later_makes_it_the_platforms_fault(world, cache):
    world.places |= ALL_GONE | {"hub": status(503), "index": status(404)}
    assert failing(PlatformError, cache).startswith(f"(1) {HUB}: answers 503 Service Unavailable: ")


def test_index_without_end_is_given_up(world, cache, monkeypatch):
    monkeypatch.setattr("sagemaker_object_detection.weights.jumpstart._MAX_INDEX_BYTES", 10)
    world.places |= ALL_GONE
    assert failing(UserError, cache).endswith(f"(3) {JUMPSTART}: models_manifest.json has no end")


def test_without_a_region_the_other_places_are_tried_and_the_sentence_says_so(world, cache, monkeypatch):
    monkeypatch.setattr(sources, "find_region", lambda: None)
    world.places |= ALL_GONE
    assert failing(UserError, cache) == (
        f"{NO_HUB}; {NO_ARCHIVE}; (3) JumpStart's {MODEL} in s3://jumpstart-cache-prod-REGION: no AWS region is known"
    )


def test_without_a_network_every_place_fails_at_once(cache, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    reason = "cannot be found (Temporary failure in name resolution): the address is misspelt or the job has no network"
    assert failing(UserError, cache) == (
        f"(1) {HUB}: the host tfhub.dev {reason}; (2) {ARCHIVE}: the host download.tensorflow.org {reason}; (3) "
        f"{JUMPSTART}: S3 cannot be reached ([Errno -3] Temporary failure in name resolution)"
    )


@pytest.mark.parametrize("place", ["hub", "archive", "index", "specs/10", "jumpstart"])
def test_stop_while_any_place_is_asked_ends_the_job_in_peace(world, cache, place):
    stopped = threading.Event()
    world.places |= {"hub": status(404), "archive": status(404)}
    answer = world.places[place]
    world.places[place] = lambda request: (stopped.set(), answer(request))
    with pytest.raises(StoppedError):
        source().fetch(StopWhen(stopped.is_set))
    assert asked(world)[-1] == place
    assert list(cache.iterdir()) == []


def test_an_image_gets_its_weights_from_the_same_places(world, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(fetch_weights, "_verify", lambda weights, base: None)  # these only look like a model's
    monkeypatch.setenv("https_proxy", world.host.address)  # which opens no way to https://
    fetch_weights.fetch_weights([BASE.name], tmp_path / "weights")
    assert asked(world) == ["archive"]
    assert (tmp_path / "weights" / BASE.name / "checkpoint/ckpt-0.index").is_file()
    assert not cache.exists()

    world.places |= {"archive": status(404), "index": status(404)}
    with pytest.raises(UserError) as raised:
        fetch_weights.fetch_weights([BASE.name], tmp_path / "others")
    head, tried = str(raised.value).split(". Tried: ")
    assert head == f"{BASE.name}: the weights cannot be fetched; name another place with --from"
    assert [f"({number}) " in tried for number in (1, 2, 3)] == [True] * 3


def test_disk_without_room_is_no_reason_to_go_on(world, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(PlatformError, match=r"give the job a larger volume$"):
        source().fetch()
    assert asked(world) == ["hub"]


def test_each_place_may_take_half_of_the_time_that_is_left_and_the_last_one_all(monkeypatch):
    clock, deadlines = iter([1000.0, 1000.0, 1900.0]), []
    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def fail(self, transfer, keep):
        deadlines.append(transfer.deadline)
        raise PlatformError(f"{self.origin}: too long; start again")

    monkeypatch.setattr(Source, "_fetch_remote", fail)
    with bounded(TOTAL_SECONDS=1800.0), pytest.raises(PlatformError, match="too long"):
        source().fetch()
    assert deadlines == [1900.0, 2350.0, 2800.0]


@pytest.mark.parametrize("stopped", [True, False])
def test_name_service_that_does_not_answer_is_given_up_and_a_stop_is_noticed(cache, monkeypatch, stopped):
    ended, asked = threading.Event(), threading.Event()

    def hang(*_, **__):
        asked.set()
        ended.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        if stopped:
            with pytest.raises(StoppedError):
                source().fetch(StopWhen(asked.is_set))
        else:
            with bounded(CONNECT_SECONDS=0.05):
                told = failing(UserError, cache)
            silence = "the name service has not answered for 0.05 seconds"
            assert told.count(silence) == 3
            assert told.startswith(f"(1) {HUB}: the host tfhub.dev cannot be found ({silence}): ")
    finally:
        ended.set()


def test_region_comes_from_the_environment(monkeypatch):
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/a"
    for names, region in [
        ({}, None),
        ({"TRAINING_JOB_ARN": arn}, "eu-west-1"),
        ({"TRAINING_JOB_ARN": "no arn"}, None),
        ({"SAGEMAKER_REGION": "us-gov-west-1", "TRAINING_JOB_ARN": arn}, "us-gov-west-1"),
        ({"AWS_DEFAULT_REGION": "cn-north-1", "SAGEMAKER_REGION": "us-east-1"}, "cn-north-1"),
        ({"AWS_REGION": "ap-southeast-2", "AWS_DEFAULT_REGION": "us-east-1"}, "ap-southeast-2"),
        ({"AWS_REGION": "evil.example/x", "AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        ({"AWS_REGION": "evil.example/x"}, None),
    ]:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "SAGEMAKER_REGION", "TRAINING_JOB_ARN"):
            monkeypatch.delenv(name, raising=False)
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        assert find_region() == region
