"""A stand-in for SageMaker's TensorFlow Serving container, by the rules of aws/sagemaker-tensorflow-serving-container.

Its Python service finds the models, imports code/inference.py by its path, makes a handler of what it finds there, and
answers with 200 or, whatever the handler raises, with 500 (python_service.py, tfs_utils.py). TensorFlow Serving's part
is a server that answers its REST interface's row format (tensorflow.org/tfx/serving/api_rest) from the SavedModel.
"""

import base64
import importlib.util
import io
import json
import os
import re
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import requests
import tensorflow as tf

Context = namedtuple(
    "Context",
    "model_name, model_version, method, rest_uri, grpc_port, channel, "
    "custom_attributes, request_content_type, accept_header, content_length",
)


def find_models(base_path: str) -> list[str]:
    """Folders of models: a saved_model.pb counts where its folder's name is all digits and lies deep enough."""
    models: list[str] = []
    for path in _saved_model_files(base_path):
        parts = path.split("/")
        if len(parts) >= 6 and re.match(r"^\d+$", parts[-2]) and "/".join(parts[:-2]) not in models:
            models.append("/".join(parts[:-2]))
    return models


def _saved_model_files(path: str) -> Iterator[str]:
    for entry in os.scandir(path):
        if entry.is_dir():
            yield from _saved_model_files(os.path.join(path, entry.name))
        elif entry.name == "saved_model.pb":
            yield os.path.join(path, entry.name)


def import_inference(model: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("inference", model / "code/inference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Container:
    """Answers invocations as the container's Python service does."""

    def __init__(self, model: Path, rest_uri: str) -> None:
        self._rest_uri = rest_uri
        inference = import_inference(model)
        if hasattr(inference, "handler"):
            self._handler = inference.handler
        elif hasattr(inference, "input_handler") and hasattr(inference, "output_handler"):

            def handler(data, context):
                processed_input = inference.input_handler(data, context)
                response = requests.post(context.rest_uri, data=processed_input, timeout=60)
                return inference.output_handler(response, context)

            self._handler = handler
        else:
            raise NotImplementedError("Handlers are not implemented correctly in user script.")

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> tuple[int, dict[str, object]]:
        """Status and JSON content of the answer."""
        context = Context(
            None,
            None,
            None,
            self._rest_uri,
            "9000",
            None,
            None,
            content_type or "application/json",
            accept or "application/json",
            len(body),
        )
        try:
            answer, kind = self._handler(io.BytesIO(body), context)
        except Exception as error:
            return 500, {"error": str(error)}
        assert kind == "application/json"
        return 200, json.loads(answer)


@contextmanager
def tensorflow_serving(model: Path) -> Iterator[str]:
    """The REST interface to the SavedModel; its address."""
    loaded = tf.saved_model.load(str(model / "1"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = _predict(loaded, request)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/models/model:predict"
        finally:
            server.shutdown()


def _predict(loaded: Any, request: dict[str, Any]) -> tuple[int, dict[str, object]]:
    """One tensor of the only input's rows; bytes come as {"b64": ...}. Each row of every output is one prediction, or
    in the columnar format each output is all of its rows."""
    signature = loaded.signatures[request.get("signature_name", "serving_default")]
    columnar = "inputs" in request
    rows = [base64.b64decode(row["b64"]) for row in request["inputs" if columnar else "instances"]]
    try:
        outputs = signature(tf.constant(rows))
    except tf.errors.OpError as error:
        return 400, {"error": error.message}
    columns = {name: value.numpy() for name, value in outputs.items()}
    assert {len(column) for column in columns.values()} == {len(rows)}
    if columnar:
        return 200, {"outputs": {name: _written(column.tolist()) for name, column in columns.items()}}
    return 200, {
        "predictions": [
            {name: _written(column[row].tolist()) for name, column in columns.items()} for row in range(len(rows))
        ]
    }


def _written(value: object) -> object:
    """float32 as C++ writes it: nine digits, from which it can be read back."""
    return [_written(item) for item in value] if isinstance(value, list) else float(f"{value:.9g}")
