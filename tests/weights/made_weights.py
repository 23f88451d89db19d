"""Trees and archives of weights, small and mostly false, and hosts on this machine that hand them out."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_object_detection.weights import bounds
from sagemaker_object_detection.weights.checkpoint import SUFFIX

WAYS = (
    'put the weights on the "model" channel, give a TensorFlow Hub handle, an s3:// address or a path as '
    "pretrained_weights, bake them into the image with fetch-weights, or set "
    'pretrained_weights="none" to start from random weights'
)


@contextmanager
def bounded(**limits: float) -> Iterator[None]:
    """Other bounds of a fetch until the end of the block, by the names they have in `weights.bounds`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in limits.items():
            patch.setattr(bounds, name, limit)
        yield


def make_tree(folder: Path, *names: str) -> Path:
    """Files that hold their own names."""
    for name in names or ("checkpoint/ckpt-0.index",):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def make_weights(folder: Path, *names: str) -> Path:
    """A tree with a checkpoint that can be read, of one variable, under the first of the names (an index's)."""
    prefix = (names or ("checkpoint/ckpt-0.index",))[0].removesuffix(".index")
    if names[1:]:
        make_tree(folder, *names[1:])
    (folder / prefix).parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / prefix),
        tensor_names=[f"model/kernel{SUFFIX}"],
        shape_and_slices=[""],
        tensors=[np.random.default_rng(0).uniform(size=150_000).astype(np.float32)],  # which cannot be compressed
    )
    return folder


def pack_files(archive: Path, folder: Path) -> Path:
    """An archive of files alone, without entries for the folders that they lie in."""
    with tarfile.open(archive, "w:gz") as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.add(path, arcname=path.relative_to(folder))
    return archive


def pack(archive: Path, folder: Path, name: str | None = None) -> Path:
    """The folder in a .tar.gz, below its own name or, with name ".", as TensorFlow Hub has it."""
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, arcname=name or folder.name)
    return archive


def pack_entry(archive: Path, name: str, **attributes: object) -> Path:
    """An archive of a good file and one more entry, with the attributes of a TarInfo."""
    with tarfile.open(archive, "w:gz") as opened:
        opened.addfile(tarfile.TarInfo("checkpoint/ckpt-0.index"))
        entry = tarfile.TarInfo(name)
        for key, value in attributes.items():
            setattr(entry, key, value)
        opened.addfile(entry, io.BytesIO(b"evil") if entry.size else None)
    return archive


@dataclass
class Host:
    """An HTTP server on this machine: `answer` is called for every request, of which `requests` keeps the targets."""

    answer: Callable[[BaseHTTPRequestHandler], object]
    address: str = ""
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what a silent host waits for."""


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], object]) -> Iterator[Host]:
    host = Host(answer)

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            host.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
            host.answer(self)

        do_GET = do_HEAD = _respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, length: int | str | None = None, **headers: str
) -> None:
    """A whole answer; with a `length` beyond the body's, one that is cut; with none (""), one that hanging up ends."""
    handler.send_response(status)
    if length != "":
        handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def make_published(folder: Path, name: str = "variables/variables.index", kernel: tuple[int, ...] = ()) -> Path:
    """A tree that passes for the default base model's as far as recognition looks, or has eight of another kernel."""
    prefix = folder / name.removesuffix(".index")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    root, count = ("_model" if "variables" in name else "model"), 8
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=[f"{root}/kernel{number}{SUFFIX}" for number in range(count)],
        shape_and_slices=[""] * count,
        tensors=[np.full(kernel or (1, 1, 128, 128), number, np.float32) for number in range(count)],
    )
    return folder
