"""s3:// addresses, from moto's S3 on this machine, and from hosts that break in ways that moto does not."""

import hashlib
import itertools
import json
import random

import boto3
import pytest
from conftest import StopWhen
from made_weights import WAYS, bounded, make_tree, make_weights, pack, pack_entry, send, serving
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.errors import PlatformError, UserError
from sagemaker_object_detection.job.stop import StoppedError
from sagemaker_object_detection.sentences import shown
from sagemaker_object_detection.weights.sources import source_at

pytestmark = pytest.mark.slow
QUICK = {"SILENCE_SECONDS": 0.2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name, value in {
        "SAGEMAKER_OD_CACHE_DIR": tmp_path / "cache",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": tmp_path / "none",
        "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "none",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    session = boto3.Session("key", "secret", region_name="us-east-1")
    yield session.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture
def s3(moto, monkeypatch):
    """A client of an S3 that holds one empty bucket, `models`."""
    client = moto
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", client.meta.endpoint_url)
    client.create_bucket(Bucket="models")
    yield client
    client.delete_bucket_policy(Bucket="models")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="models"):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket="models", Key=found["Key"])
    client.delete_bucket(Bucket="models")


@pytest.fixture
def archive(tmp_path):
    return pack(tmp_path / "model.tar.gz", make_weights(tmp_path / "ssd", "checkpoint/ckpt-0.index", "pipeline.config"))


def refusal(address, cache, kind=UserError, limits=None):
    """What fetching says without what it always begins and ends with, once it has left nothing behind."""
    origin = f'pretrained_weights="{address}"'
    with bounded(**(limits or {})), pytest.raises(kind) as raised:
        source_at(address, origin).fetch()
    assert not cache.exists() or list(cache.iterdir()) == []
    message = str(raised.value)
    assert message.startswith(f"{origin}: ")
    return message.removeprefix(f"{origin}: ").removesuffix(f", or {WAYS}")


def test_an_archive_is_fetched_once_and_then_found_without_s3(s3, archive, cache, monkeypatch):
    s3.upload_file(str(archive), "models", "some/model.tar.gz")
    weights = source_at("s3://models/some/model.tar.gz", "s3").fetch()
    (folder,) = cache.iterdir()
    assert weights.checkpoint == folder / "ssd/checkpoint/ckpt-0"
    assert weights.pipeline_config == folder / "ssd/pipeline.config"
    assert [path.name for path in folder.iterdir()] == ["ssd"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert source_at("s3://models/some/model.tar.gz", "s3").fetch() == weights


def upload(s3, tree, prefix):
    for path in tree.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), "models", f"{prefix}/{path.relative_to(tree)}")


DATA = "checkpoint/ckpt-0.data-00000-of-00001"


def test_every_object_below_a_prefix_is_fetched(s3, tmp_path, cache):
    tree = make_weights(tmp_path / "tree", "checkpoint/ckpt-0.index", "pipeline.config")
    upload(s3, tree, "ssd")
    for key in ("ssd/", "ssd-other/checkpoint/ckpt-7.index"):
        s3.put_object(Bucket="models", Key=key, Body=key.encode())
    weights = source_at("s3://models/ssd", "s3").fetch()
    (folder,) = cache.iterdir()
    assert weights.checkpoint == folder / "checkpoint/ckpt-0"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: (tree / name).read_bytes() for name in ("checkpoint/ckpt-0.index", DATA, "pipeline.config")}


def test_a_folder_that_is_listed_in_pages_is_fetched_whole(s3, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    names = ["variables.data-00000-of-00001", "variables.index", "x", "y", "z"]
    upload(s3, make_weights(tmp_path / "tree", "variables.index", "x", "y", "z"), "ssd/variables")
    source_at("s3://models/ssd/", "s3").fetch()
    (folder,) = cache.iterdir()
    assert sorted(path.name for path in (folder / "variables").iterdir()) == names


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz"])
@pytest.mark.parametrize("named", [True, False])
def test_the_one_archive_below_a_prefix_is_unpacked(s3, tmp_path, cache, suffix, named):
    tree = make_weights(tmp_path / "tree")
    name = DEFAULT_MODEL.weights.tarball if named else "model"
    s3.upload_file(str(pack(tmp_path / "a.tar.gz", tree, ".")), "models", f"some/folder/{name}{suffix}")
    s3.put_object(Bucket="models", Key="some/folder/.DS_Store", Body=b"litter")
    for _ in range(2):  # from S3, and from the cache
        weights = source_at("s3://models/some/folder", "s3").fetch()
        assert (weights.checkpoint.parent / "ckpt-0.index").read_bytes() == (
            tree / "checkpoint/ckpt-0.index"
        ).read_bytes()
        assert weights.named_as == (DEFAULT_MODEL if named else None)
    (folder,) = cache.iterdir()
    assert not list(folder.rglob(f"*{suffix}"))


def test_an_archive_inside_an_archive_is_refused(s3, tmp_path, cache):
    outer = make_tree(tmp_path / "outer", "readme.txt")
    pack(outer / "inner.tar.gz", make_weights(tmp_path / "ssd"))
    s3.upload_file(str(pack(tmp_path / "outer.tar.gz", outer, ".")), "models", "folder/outer.tar.gz")
    for address in ("s3://models/folder", "s3://models/folder/outer.tar.gz"):
        assert refusal(address, cache) == (
            "the archive holds another one, inner.tar.gz; expected the files of a model in it: give the inner archive "
            "instead"
        )


@pytest.mark.parametrize("missing", ["model_info.json", "1/variables/variables.data-00000-of-00001"])
def test_half_of_an_artifact_is_refused_and_not_kept(s3, tmp_path, cache, missing):
    tree = make_weights(tmp_path / "tree", "1/variables/variables.index", "model_info.json")
    (tree / "model_info.json").write_text("{}")
    (tree / missing).write_text("{")
    upload(s3, tree, "model")
    told = "model_info.json describes no model" if missing == "model_info.json" else "the checkpoint cannot be read ("
    assert refusal("s3://models/model", cache).startswith(told)
    (tree / "model_info.json").write_text("{}")
    upload(s3, make_weights(tree, "1/variables/variables.index"), "model")
    assert source_at("s3://models/model", "s3").fetch().artifact is not None


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "s3://models/none.tar.gz",
            "there is no such object in the bucket 'models'; check the address",
        ),
        (
            "s3://models/none",
            "there is no object below s3://models/none/; expected the files of a model there, or the address of a "
            ".tar.gz; check the address",
        ),
        ("s3://nobody-has-this/none.tar.gz", "there is no bucket 'nobody-has-this'; check the address"),
        ("s3://nobody-has-this/none", "there is no bucket 'nobody-has-this'; check the address"),
    ],
)
def test_what_is_not_there_is_told(s3, cache, address, told):
    assert refusal(address, cache) == told


def test_what_is_denied_is_told_with_the_action_to_allow(s3, archive, cache):
    s3.upload_file(str(archive), "models", "model.tar.gz")
    reading = {"Effect": "Deny", "Principal": "*", "Action": ["s3:GetObject"], "Resource": "*"}
    s3.put_bucket_policy(Bucket="models", Policy=json.dumps({"Version": "2012-10-17", "Statement": [reading]}))
    assert refusal("s3://models/model.tar.gz", cache) == (
        "access is denied; allow the job's role s3:GetObject on it, and s3:ListBucket, without which S3 never says "
        "that an object is missing"
    )


@pytest.mark.parametrize("key", ["ssd/../../evil", "ssd//evil", "ssd/./evil"])
def test_a_key_that_reaches_outside_is_refused(s3, tmp_path, cache, key):
    s3.put_object(Bucket="models", Key=key, Body=b"evil")
    assert refusal("s3://models/ssd", cache) == (
        f"the object {key!r} has no place in a folder; expected keys that are plain relative paths: upload the model "
        "again"
    )
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("keys", [("ssd/a", "ssd/a/b"), ("ssd/a/b", "ssd/a"), ("ssd/" + "x" * 300,)])
def test_keys_that_cannot_be_files_are_refused(s3, cache, keys):
    for key in keys:
        s3.put_object(Bucket="models", Key=key, Body=b"1")
    assert refusal("s3://models/ssd", cache) == (
        f"the object {shown(max(keys))} has no place in a folder; expected keys that are plain relative paths: upload "
        "the model again"
    )


def test_a_folder_of_too_many_objects_is_not_begun(s3, cache):
    for number in range(3):
        s3.put_object(Bucket="models", Key=f"ssd/{number}", Body=b"12345")
    assert refusal("s3://models/ssd", cache, limits={"MAX_ENTRIES": 2}) == (
        "what is there holds more than 2 files and folders, which are no weights; give the files of one model alone"
    )
    assert refusal("s3://models/ssd", cache, limits={"MAX_BYTES": 14}) == (
        "what is there holds more than 0.0 MB, which are no weights; give the files of one model alone"
    )


def test_what_an_archive_may_not_hold_is_refused(s3, tmp_path, cache):
    s3.upload_file(str(pack_entry(tmp_path / "evil.tar.gz", "../evil", size=4)), "models", "evil.tar.gz")
    assert refusal("s3://models/evil.tar.gz", cache) == (
        "evil.tar.gz holds '../evil', which lies outside the archive's own folder; expected plain files and folders "
        "below the archive's own folder: pack the model again"
    )


def test_objects_that_are_no_weights_are_refused_and_not_kept(s3, cache):
    s3.put_object(Bucket="models", Key="data/a.jpg", Body=b"a")
    assert refusal("s3://models/data", cache).startswith("found a.jpg, which are no weights; ")


@pytest.mark.parametrize("before", [0, 1])
def test_a_stop_ends_the_transfer_and_leaves_nothing(s3, archive, cache, before):
    s3.upload_file(str(archive), "models", "model.tar.gz")
    asked = itertools.chain([False] * before, itertools.repeat(True))
    with pytest.raises(StoppedError):
        source_at("s3://models/model.tar.gz", "s3").fetch(StopWhen(lambda: next(asked)))
    assert not cache.exists() or list(cache.iterdir()) == []


def test_without_credentials_the_way_out_is_told(s3, cache, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert refusal("s3://models/model.tar.gz", cache) == (
        "there are no AWS credentials to fetch it with; run the job with a role and without network isolation, which "
        "takes them away"
    )


def test_without_a_network_the_way_out_is_told(cache, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with serving(lambda request: None) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
    assert refusal("s3://models/model.tar.gz", cache) == (
        f'S3 cannot be reached (Could not connect to the endpoint URL: "{host.address}/models/model.tar.gz"); check '
        "the "
        "job's VPC, which needs an endpoint for S3, and its network isolation"
    )


class BreakingS3:
    """An S3 of one object, which hangs up in the middle of the first `breaks` transfers."""

    def __init__(self, body, breaks):
        self.body, self.breaks = body, breaks
        self.etag = f'"{hashlib.md5(body).hexdigest()}"'

    def __call__(self, request):
        wanted = request.headers.get("Range")
        if request.command == "HEAD":
            send(request, b"", length=len(self.body), ETag=self.etag)
            return
        if request.headers.get("If-Match", self.etag) != self.etag:
            send(request, b"<Error><Code>PreconditionFailed</Code></Error>", status=412)
            return
        first, last = 0, len(self.body) - 1
        if wanted:
            first, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last = int(first), min(int(end or last), last)
        part = self.body[first : last + 1]
        partial = {"Content_Range": f"bytes {first}-{last}/{len(self.body)}"} if wanted else {}
        self.breaks -= 1
        sent = part[: len(part) // 2] if self.breaks >= 0 else part
        send(request, sent, 206 if wanted else 200, len(part), ETag=self.etag, **partial)


@pytest.fixture
def large(tmp_path):
    """An archive that boto3 fetches in two pieces."""
    tree = make_weights(tmp_path / "ssd")
    (tree / "checkpoint/other").write_bytes(random.Random(0).randbytes(9_000_000))
    return pack(tmp_path / "large.tar.gz", tree), tree


def test_a_transfer_that_breaks_is_taken_up_at_the_piece_under_way(large, cache, monkeypatch):
    archive, tree = large
    with serving(BreakingS3(archive.read_bytes(), breaks=1)) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        weights = source_at("s3://models/large.tar.gz", "s3").fetch()
    data = "other"
    assert (weights.checkpoint.parent / data).read_bytes() == (tree / "checkpoint" / data).read_bytes()
    assert [request for request in host.requests if request.startswith("GET")] == [
        "GET /models/large.tar.gz bytes=0-8388607",
        "GET /models/large.tar.gz bytes=0-8388607",
        "GET /models/large.tar.gz bytes=8388608-",
    ]


def test_a_transfer_that_keeps_breaking_is_given_up(large, cache, monkeypatch):
    with serving(BreakingS3(large[0].read_bytes(), breaks=99)) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        assert refusal("s3://models/large.tar.gz", cache, PlatformError) == (
            "the connection to S3 broke 3 times at the same piece; start again"
        )
    assert len(host.requests) == 2 + 3  # two questions for the size


def test_an_object_that_changes_meanwhile_is_not_mixed(large, cache, monkeypatch):
    server = BreakingS3(large[0].read_bytes(), breaks=0)

    def change_after_the_first_piece(request):
        server(request)
        if request.command == "GET":
            server.etag = '"another"'

    with serving(change_after_the_first_piece) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        assert refusal("s3://models/large.tar.gz", cache) == (
            "the object has changed while it was being fetched; start again"
        )


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (503, "SlowDown", PlatformError, "S3 answers 503 (SlowDown); start again"),
        (400, "ExpiredToken", UserError, "S3 refuses the job's AWS credentials (ExpiredToken); give it a valid role"),
        (
            301,
            "PermanentRedirect",
            UserError,
            "the bucket is in another region (PermanentRedirect); set AWS_DEFAULT_REGION",
        ),
        (403, "AccessDenied", UserError, "access is denied; allow the job's role s3:ListBucket"),
        (400, "InvalidRequest", UserError, "S3 answers 400 (InvalidRequest); check the address"),
    ],
)
def test_what_s3_answers_is_told(cache, monkeypatch, status, code, kind, told):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
    headers = {"Content_Type": "application/xml", "x_amz_bucket_region": "eu-west-1"}
    with serving(lambda request: send(request, body, status=status, **headers)) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        assert refusal("s3://models/folder", cache, kind) == told


def test_a_silent_s3_is_given_up(archive, cache, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    with serving(lambda request: host.closing.wait(10)) as host:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", host.address)
        assert refusal("s3://models/model.tar.gz", cache, limits=QUICK) == (
            f'S3 cannot be reached (Read timeout on endpoint URL: "{host.address}/models/model.tar.gz"); check the '
            "job's VPC, which needs an endpoint for S3, and its network isolation"
        )


@pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://a b/key", "s3://b/"])
def test_what_cannot_be_an_address_is_refused_at_once(address):
    with pytest.raises(UserError) as raised:
        source_at(address, "weights")
    assert str(raised.value) == (
        "weights: is no address of weights; expected a bucket and a key, as in s3://bucket/folder/model.tar.gz, or in "
        "s3://bucket/folder for every object below"
    )
