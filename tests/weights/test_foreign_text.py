"""What others may write into names, addresses and answers, in sentences about weights and in lines of the log.

No control character and no line break comes out, nothing without bound, no traceback, and nothing is left on the disk.
"""

import functools
import json
import logging
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from made_checkpoints import Checkpoint
from made_weights import Host, make_tree, pack, send, serving

from sagemaker_object_detection.artifact.model_info import read_model_info
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.errors import JobError
from sagemaker_object_detection.job.stop import NEVER
from sagemaker_object_detection.sentences import is_printable
from sagemaker_object_detection.weights.bounds import Transfer
from sagemaker_object_detection.weights.checkpoint import read_model_garden
from sagemaker_object_detection.weights.jumpstart import JumpStartModel
from sagemaker_object_detection.weights.sources import find_source

TEXTS = {
    "escape": "\x1b[2Jx",
    "line": "a\nERROR: forged",
    "separator": "a\u2028b",
    "zero": "a\x00b",
    "c1": "a\x9b2Jb",
    "long": "x" * 60_000,
}
MOST = 3_000
"""Characters of a sentence or a line of the log, with whatever it says of its own."""


def name_of(text: str) -> str:
    """As a file's name may be."""
    return text.replace("\x00", "\x01").replace("/", ":")[:200]


Case = Callable[[str, Path, Host], object]


def fetched(place: str) -> object:
    return find_source(place, None).fetch()


def on_channel(path: Path) -> object:
    weights = find_source("auto", path).fetch()
    assert weights is not None
    assert weights.checkpoint is not None
    return read_model_garden(weights.checkpoint)


def answered(host: Host, answer: Callable[[Any], object], path: str = "model/1") -> object:
    host.answer = answer
    return fetched(f"{host.address}/{path}")


def raw(head: str) -> Callable[[Any], object]:
    """An answer byte for byte, but without what would end its line."""
    line = head.replace("\r", "").encode("latin-1", "replace").split(b"\n")
    return lambda request: request.wfile.write(b"\r\n ".join(line) + b"\r\n\r\n")


def reason(text: str, work: Path, host: Host, status: int) -> object:
    return answered(host, raw(f"HTTP/1.1 {status} {text}"))


def content_type(text: str, work: Path, host: Host) -> object:
    return answered(host, raw(f"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: {text}\r\n\r\nabcd"))


def redirect(text: str, work: Path, host: Host, place: str) -> object:
    return answered(host, raw(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {place}{text}"))


def header(text: str, work: Path, host: Host) -> object:
    return answered(host, raw(f"HTTP/1.1 200 OK\r\n{text}\r\nContent-Length: {text}"))


def member(text: str, work: Path, host: Host, kind: bytes) -> object:
    with tarfile.open(work / "model.tar.gz", "w:gz") as opened:
        entry = tarfile.TarInfo(text)
        entry.type, entry.linkname = kind, text
        opened.addfile(entry)
    return on_channel(work)


def archive_name(text: str, work: Path, host: Host) -> object:
    (work / f"{name_of(text)}.tar.gz").write_bytes(b"none")
    return on_channel(work)


def file_names(text: str, work: Path, host: Host) -> object:
    return on_channel(make_tree(work, f"{name_of(text)}/{name_of(text)}"))


def folder_names(text: str, work: Path, host: Host) -> object:
    return on_channel(make_tree(work, f"{name_of(text)}/ckpt-0.index", "other/ckpt-0.index"))


def packed(text: str, work: Path, host: Host, name: str) -> object:
    tree = make_tree(work / "tree", f"{name_of(text)}/{name}")
    archive = pack(work / "model.tar.gz", tree)
    return on_channel(archive)


def special(text: str, work: Path, host: Host) -> object:
    make_tree(work, "ckpt-0.index")
    (work / f"ckpt-0.{name_of(text)}").mkdir()
    return on_channel(work)


def variable(text: str, work: Path, host: Host, root: str) -> object:
    checkpoint = Checkpoint()
    checkpoint.variables = {(root + text[:500]).encode(): value for value in checkpoint.variables.values()}
    return read_model_garden(checkpoint.write(work / "ckpt-0"))


def described(text: str, work: Path, host: Host, field: str) -> object:
    info = {
        "format": 1,
        "base_model": DEFAULT_MODEL.name,
        field: text,
        "versions": {"sagemaker-object-detection": text},
    }
    (work / "model_info.json").write_text(json.dumps(info))
    return read_model_info(work)


def jumpstart(text: str, work: Path, host: Host, index: object) -> object:
    def answer(request: Any) -> None:
        if request.path.endswith("models_manifest.json"):
            send(request, json.dumps(index).replace("TEXT", json.dumps(text)[1:-1]).encode())
        else:
            send(request, json.dumps({"training_artifact_key": text}).encode())

    host.answer = answer
    return JumpStartModel("m", "us-west-2").fetch(work, Transfer("jumpstart", NEVER, "try again"))


def refused_by_s3(text: str, work: Path, host: Host, status: int) -> object:
    code = text if text.isprintable() or "\u2028" in text else "".join(filter(str.isprintable, text))
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    host.answer = lambda request: send(request, body.encode(), status=status, Content_Type="application/xml")
    return fetched("s3://models/some/folder")


def keys_of_s3(text: str, work: Path, host: Host) -> object:
    key = quote(f"some/folder/{text}/../x")
    body = (
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><EncodingType>url</EncodingType>"
        f"<IsTruncated>false</IsTruncated><Contents><Key>{key}</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    host.answer = lambda request: send(request, body.encode(), Content_Type="application/xml")
    return fetched("s3://models/some/folder")


def place(text: str, work: Path, host: Host, begin: str) -> object:
    return fetched(begin + text)


def _cases() -> dict[str, Case]:
    some = functools.partial
    entry = {"model_id": "m", "version": "1.0.0", "spec_key": "TEXT"}
    return {
        **{
            f"place {begin}": some(place, begin=begin) for begin in ("", "/", "https://127.0.0.1:9/", "s3://b/", "x://")
        },
        **{f"reason {status}": some(reason, status=status) for status in (302, 400, 403, 404, 429, 503)},
        **{
            f"redirect {to}": some(redirect, place=to) for to in ("", "/", "http://127.0.0.1:9/", "http://", "ftp://a/")
        },
        "content type": content_type,
        "header": header,
        "link": some(member, kind=tarfile.SYMTYPE),
        "device": some(member, kind=tarfile.CHRTYPE),
        "outside": lambda text, work, host: member(f"../{text}", work, host, tarfile.REGTYPE),
        "archive": archive_name,
        "files": file_names,
        "folders": folder_names,
        **{f"packed {name}": some(packed, name=name) for name in ("a", "a.tar.gz", "ckpt-0.index")},
        "special": special,
        "variable": some(variable, root=""),
        "variable of a detector": some(variable, root="model/"),
        "base model": some(described, field="base_model"),
        "format": some(described, field="format"),
        "spec": some(jumpstart, index=[entry]),
        "index": some(jumpstart, index={"TEXT": 1}),
        **{f"s3 {status}": some(refused_by_s3, status=status) for status in (400, 404, 503)},
        "keys": keys_of_s3,
    }


CASES = _cases()
SLOW = ("spec", "index", "s3 400", "s3 404", "s3 503", "keys")


@pytest.fixture
def host(tmp_path, monkeypatch):
    with serving(lambda request: None) as host:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": tmp_path / "none",
            "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "none",
            "AWS_ENDPOINT_URL_S3": host.address,
            "SAGEMAKER_OD_CACHE_DIR": tmp_path / "cache",
            "TMPDIR": tmp_path / "tmp",
            "no_proxy": "*",
        }.items():
            monkeypatch.setenv(name, str(value))
        yield host


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_no_sentence_and_no_line_of_the_log_holds_foreign_text_raw(tmp_path, host, monkeypatch, caplog, case):
    caplog.set_level(logging.INFO)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for kind, text in TEXTS.items():
        work = tmp_path / kind
        work.mkdir()
        with pytest.raises(JobError) as raised:
            CASES[case](text, work, host)
        said = [str(raised.value), *(record.getMessage() for record in caplog.records)]
        for line in said:
            assert is_printable(line), (kind, line[:500])
            assert len(line) < MOST, (kind, line[:500])
        assert not [record for record in caplog.records if record.exc_info], kind
        del raised
        assert not (tmp_path / "cache").exists() or not [*(tmp_path / "cache").iterdir()]
        assert not [*(tmp_path / "tmp").iterdir()]
        caplog.clear()
