"""TensorFlow Serving's REST interface to a model (tensorflow.org/tfx/serving/api_rest), for scripts on this machine."""

import base64
import json
import logging
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from sagemaker_object_detection.artifact.inference import RequestError, parse_json
from sagemaker_object_detection.images.headers import UnusableImageError, header_of
from sagemaker_object_detection.images.walk import MAX_PIXELS
from sagemaker_object_detection.serving.queue import PATIENCE, BatchQueue, Detect

log = logging.getLogger(__name__)

MAX_BYTES = 2**27
"""Of a request: an image as text of its pixels is ten times as large as its file."""
MAX_ROWS = 64
_PATH = re.compile(r"/v1/models/[^/]+?(/versions/\d+|/labels/[^/:]+)?(:[a-z]+)?")


class RestInterface:
    """Listens on a free port of 127.0.0.1, and answers `:predict` for any model's name with the one model.

    Args:
        detect: the model for encoded images, {"b64": ...}.
        pixels: the model for decoded ones, lists of numbers [height, width, 3].
    """

    def __init__(self, queue: BatchQueue, detect: Detect, pixels: Detect) -> None:
        self._queue, self._detect, self._pixels = queue, detect, pixels
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200 if _PATH.fullmatch(self.path) else 404, _STATUS)

            def do_POST(self) -> None:
                status, content = answer(self.path, self.headers.get("Content-Length", ""), self.rfile.read)
                if status == 413:  # the body is not read
                    self.close_connection = True
                self._send(status, content)

            def _send(self, status: int, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="rest", daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, length: str, read: Callable[[int], bytes]) -> tuple[int, object]:
        try:
            if not (length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= MAX_BYTES):
                raise RequestError(413, f"expected a body of a known length, at most {MAX_BYTES} bytes")
            body = read(int(length))
            if not (_PATH.fullmatch(path) and path.endswith(":predict")):
                raise RequestError(404, f"{path[:200]}: expected POST /v1/models/NAME:predict")
            return 200, self._predict(parse_json(body))
        except RequestError as error:
            return error.status, {"error": str(error)}
        except Exception as error:  # told to the script, as TensorFlow Serving would
            log.error("The model's REST interface failed.", exc_info=error)
            return 500, {"error": f"a fault of the server: {type(error).__name__}"}

    def _predict(self, request: Any) -> dict[str, Any]:
        forms = [form for form in ("instances", "inputs") if isinstance(request, dict) and form in request]
        if len(forms) != 1:
            raise RequestError(400, "expected an object with either instances or inputs")
        (form,) = forms
        values = request[form]
        if isinstance(values, dict) and "b64" not in values and len(values) == 1:
            (values,) = values.values()
        if isinstance(values, dict):
            values = [values]
        if not isinstance(values, list) or not 0 < len(values) <= MAX_ROWS:
            raise RequestError(400, f"{form}: expected a list of 1 to {MAX_ROWS} images")
        waiting = []
        try:
            for index, value in enumerate(values):
                waiting.append(self._queue.put(*self._image(value, f"{form}[{index}]")))
            rows = [future.result(PATIENCE + 10.0) for future in waiting]
        finally:
            for future in waiting:
                future.cancel()
        if form == "instances":
            return {"predictions": rows}
        return {"outputs": {name: [row[name] for row in rows] for name in rows[0]}}

    def _image(self, value: Any, place: str) -> tuple[Detect, Any, int]:
        """The model for an image, the image, and how many pixels it has."""
        if isinstance(value, dict) and "b64" not in value and len(value) == 1:
            (value,) = value.values()
        if isinstance(value, dict) and isinstance(value.get("b64"), str):
            try:
                contents = base64.b64decode(value["b64"])
                header = header_of(contents)
            except (ValueError, UnusableImageError) as error:
                raise RequestError(400, f"{place} {error}") from error
            return self._detect, contents, header.height * header.width
        try:
            image = np.asarray(value)
        except ValueError:
            image = np.zeros(0)
        if image.dtype.kind not in "iu" or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise RequestError(
                400, f'{place}: expected {{"b64": ...}} of an image file, or whole numbers [height, width, 3]'
            )
        if image.min() < 0 or image.max() > 255:
            raise RequestError(400, f"{place}: expected pixels from 0 to 255")
        if image.size > 3 * MAX_PIXELS:
            raise RequestError(413, f"{place}: expected at most {MAX_PIXELS} pixels")
        return self._pixels, image.astype(np.uint8), image.shape[0] * image.shape[1]


_STATUS: dict[str, Any] = {
    "model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}
