"""TensorFlow Serving's REST interface, as scripts on this machine ask it."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from sagemaker_object_detection.serving.handlers.rest import RestInterface
from sagemaker_object_detection.serving.queue import BatchQueue, DamagedImageError


def png(width: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, 2)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def widths(images: Sequence[bytes]) -> list[dict[str, Any]]:
    return [{"width": float(Image.open(io.BytesIO(image)).width), "of": "file"} for image in images]


def pixel_widths(images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    if any(image.max() == 255 for image in images):
        raise DamagedImageError
    return [{"width": float(image.shape[1]), "of": "pixels"} for image in images]


@pytest.fixture(scope="module")
def rest() -> Iterator[RestInterface]:
    queue = BatchQueue(2)
    interface = RestInterface(queue, widths, pixel_widths)
    yield interface
    interface.close()
    assert queue.close(10)


def post(rest: RestInterface, body: Any, path: str = "/v1/models/model:predict") -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = requests.post(rest.address + path, content, timeout=10)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    "path", ["/v1/models/model:predict", "/v1/models/a%2Fb:predict", "/v1/models/m/versions/1:predict"]
)
def test_rows_of_encoded_images(rest: RestInterface, path: str):
    rows = [{"b64": png(3)}, {"image_bytes": {"b64": png(5)}}]
    expected = {"predictions": [{"width": 3.0, "of": "file"}, {"width": 5.0, "of": "file"}]}
    assert post(rest, {"signature_name": "encoded_images", "instances": rows}, path) == (200, expected)


@pytest.mark.parametrize("inputs", [[{"b64": png(3)}], {"b64": png(3)}, {"image_bytes": [{"b64": png(3)}]}])
def test_columns(rest: RestInterface, inputs: Any):
    assert post(rest, {"inputs": inputs}) == (200, {"outputs": {"width": [3.0], "of": ["file"]}})


def test_pixels_as_the_reference_exporters_signature_takes_them(rest: RestInterface):
    pixels = np.zeros([2, 4, 3], int).tolist()
    expected = {"width": 4.0, "of": "pixels"}
    assert post(rest, {"instances": [pixels]}) == (200, {"predictions": [expected]})
    assert post(rest, {"inputs": {"input_tensor": [pixels]}}) == (200, {"outputs": {"width": [4.0], "of": ["pixels"]}})


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "the body is not JSON"),
        ({"instances": [], "inputs": []}, 400, "expected an object with either instances or inputs"),
        ([1], 400, "expected an object with either"),
        ({"instances": []}, 400, "instances: expected a list of 1 to 64 images"),
        ({"instances": [0] * 65}, 400, "instances: expected a list of 1 to 64 images"),
        ({"instances": [1.5]}, 400, 'instances[0]: expected {"b64": ...} of an image file, or whole numbers'),
        ({"instances": [[[1, 2], [3]]]}, 400, 'instances[0]: expected {"b64": ...}'),
        ({"instances": [[[[0.5, 1.0, 2.0]]]]}, 400, 'instances[0]: expected {"b64": ...}'),
        ({"instances": [[[[1, 2, 256]]]]}, 400, "instances[0]: expected pixels from 0 to 255"),
        ({"instances": [[[[1, 2, 255]]]]}, 400, "the image cannot be decoded"),
        ({"instances": [{"b64": "aGk="}]}, 400, "instances[0] is text that begins 'hi'. Expected a JPEG or PNG image"),
    ],
)
def test_what_is_refused(rest: RestInterface, body: Any, status: int, sentence: str):
    given, content = post(rest, body)
    assert (given, content["error"][: len(sentence)]) == (status, sentence)


def test_other_addresses(rest: RestInterface):
    assert post(rest, {}, "/v1/models/m:classify")[0] == 404
    assert post(rest, {}, "/elsewhere:predict")[0] == 404
    status = requests.get(f"{rest.address}/v1/models/m", timeout=10)
    assert (status.status_code, status.json()["model_version_status"][0]["state"]) == (200, "AVAILABLE")


def test_a_body_that_is_too_large_is_not_read(rest: RestInterface):
    response = requests.post(
        f"{rest.address}/v1/models/m:predict", b"", headers={"Content-Length": "999999999"}, timeout=10
    )
    assert response.status_code == 413


def test_only_this_machine_is_listened_to(rest: RestInterface):
    assert rest.address.startswith("http://127.0.0.1:")
