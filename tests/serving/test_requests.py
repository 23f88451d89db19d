"""The bodies that a server and the artifact's handler read, and what they say of all others."""

import base64
import io
import json
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from made_channels import picture

from sagemaker_object_detection.artifact import inference
from sagemaker_object_detection.artifact.inference import (
    MAX_IMAGES,
    RequestError,
    input_handler,
    output_handler,
    read_request,
)

PNG = b"\x89PNG\r\n\x1a\n and pixels"
JPEG = b"\xff\xd8\xff and pixels"
B64 = base64.b64encode(PNG).decode()
JPEG_B64 = base64.b64encode(JPEG).decode()
JSON = "application/json"


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/x-image", "image/jpeg", "image/png", "image/*", "", None, "application/x-www-form-urlencoded"),
        *("application/octet-stream", "binary/octet-stream", "Application/Octet-Stream; charset=binary"),
    ],
)
@pytest.mark.parametrize("body", [PNG, JPEG])
def test_an_image_file_is_one_whatever_says_little_of_its_type(content_type: str | None, body: bytes):
    assert read_request(body, content_type) == ([body], "image")


@pytest.mark.parametrize(
    ("content", "images", "form"),
    [
        ({"instances": [{"b64": B64}]}, [PNG], "instances"),
        ({"instances": [{"b64": B64}, {"b64": JPEG_B64}]}, [PNG, JPEG], "instances"),
        ({"instances": [{"image_bytes": {"b64": B64}}, {"any": {"b64": JPEG_B64}}]}, [PNG, JPEG], "instances"),
        ({"signature_name": "serving_default", "instances": [{"b64": B64}]}, [PNG], "instances"),
        ({"signature_name": "encoded_images", "inputs": [{"b64": B64}]}, [PNG], "inputs"),
        ({"inputs": {"b64": B64}}, [PNG], "inputs"),
        ({"inputs": {"image_bytes": [{"b64": B64}, {"b64": JPEG_B64}]}}, [PNG, JPEG], "inputs"),
        ({"inputs": {"image_bytes": {"b64": B64}}}, [PNG], "inputs"),
        ({"instances": [{"b64": f"data:image/png;base64,{B64}"}]}, [PNG], "instances"),
        ({"instances": [{"b64": f"DATA:image/png;base64,{B64}"}]}, [PNG], "instances"),
        ({"instances": [{"b64": base64.encodebytes(PNG * 9).decode()}]}, [PNG * 9], "instances"),
        ({"instances": [{"b64": B64.rstrip("=")}]}, [PNG], "instances"),
        ({"instances": [{"b64": base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()}]}, [b"\xfb\xff\xfe"], "instances"),
    ],
)
def test_json_as_tensorflow_serving_clients_send_it(content: Any, images: list[bytes], form: str):
    assert read_request(encoded(content), "application/json; charset=utf-8") == (images, form)


def test_base64_text_of_many_spaces_takes_a_few_times_its_bytes():
    body = encoded({"instances": [{"b64": "ab " * 200_000}]})
    tracemalloc.start()
    read_request(body, JSON)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(body)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "sentence"),
    [
        (
            "text/csv",
            b"1,2,3",
            415,
            r"^Content-Type: got 'text/csv'; rows of numbers are not read: send the bytes of one",
        ),
        ("multipart/form-data; boundary=x", b"--x", 415, r"forms are not read: .* \(curl --data-binary @photo.jpg\)$"),
        ("application/jsonlines", b"{}", 415, "send one image for each request, or all of them in one JSON object"),
        ("application/x-npy", b"\x93NUMPY", 415, "arrays are not read: send the bytes"),
        ("application/x-protobuf", b"\x08", 415, "protocol buffers are not read"),
        ("application/x-recordio-protobuf", b"\x08", 415, "RecordIO is not read"),
        ("text/plain", JPEG_B64.encode(), 415, "; the body is base64 text: send the bytes of one JPEG or PNG file"),
        ("application/vnd.google.protobuf", b"\x08", 415, "protocol buffers are not read"),
        (
            "application/x-image",
            b"\x1f\x8b\x08",
            400,
            "the body is gzip, not an image file: compressed bodies are not read",
        ),
        ("application/x-gzip", b"\x1f\x8b\x08", 415, "the body is gzip: compressed bodies are not read"),
        ("image/jpeg", b"PK\x03\x04", 400, "the body is a zip archive"),
        ("application/x-image", b"photo 1.JPG", 400, "the body is the name of a file, .* --data-binary @photo.jpg"),
        ("image/png", b"\x89PNG\x1aIHDR", 400, "a PNG file without its line breaks, which curl -d leaves out"),
        ("image/jpeg", b"\xff\xd8\xff" + b"p" * 2000, 400, "an image file without its line breaks, which curl -d"),
        ("text/plain", b"https://a/b.jpg", 415, "the body is a web address: nothing is fetched"),
        ("application/x-www-form-urlencoded", b"image=%2F9j%2F", 415, "the body is a form: forms are not read"),
        ("text/html", PNG, 415, "expected application/x-image or image/jpeg or image/png, and as the body one JPEG or"),
        ("application/x-image", B64.encode(), 400, "^the body is base64 text, not an image file: send the bytes"),
        ("application/x-image", f"b'{B64}'".encode(), 400, r"the text of Python's bytes.* use .decode\(\), not str"),
        ("image/png", f"data:image/png;base64,{B64}".encode(), 400, "^the body is a data URI, not an image file"),
        ("application/octet-stream", b"s3://bucket/a.jpg", 400, "an address in S3, not an image file: nothing is"),
        (
            "application/x-image",
            encoded({"instances": []}),
            400,
            "is JSON, not an image file: send it as .* Content-Type",
        ),
        ("application/x-image", b"\x93NUMPY\x01", 400, "the body is a NumPy array, not an image file: arrays are not"),
        ("application/x-image", b"0.5, 12,3e4\n1,2,3", 400, "the body is a row of numbers, not an image file"),
        ("image/png", b'--b1\r\nContent-Disposition: form-data; name="f"', 400, "is a multipart form, not an image"),
        ("application/octet-stream", b"\x0a\x23\xd7\xce" + bytes(4), 400, "the body is a RecordIO file"),
        (JSON, PNG, 400, "^Content-Type: got 'application/json', but the body is an image file: send the bytes"),
        (JSON, b"", 400, "^the body is empty"),
        (JSON, b"{", 400, r"^the body is not JSON \(line 1, column 2: "),
        (JSON, b"\xff\xfe\x00", 400, "the body is JSON that cannot be read"),
        (JSON, b"[" * 100_000, 400, "the body is JSON that cannot be read"),
        (JSON, b'{"instances": ' + b"9" * 5000 + b"}", 400, "the body is JSON that cannot be read"),
        (JSON, encoded({"instances": []}) + b"\n{}", 400, "the body is several JSON values: send one image for each"),
        (JSON, b'{"instances": 1, "instances": 2}', 400, "gives a key twice in one object"),
        (JSON, encoded([[[1, 2, 3]]]), 400, "^the body is JSON, but a list; expected an object"),
        (JSON, encoded(B64), 400, "^the body is JSON, but text; expected an object"),
        (JSON, encoded({"data": B64}), 400, "^the body's JSON has the keys 'data'; expected one key with the images"),
        (JSON, encoded({"instances": [], "inputs": []}), 400, "has both instances and inputs"),
        (JSON, encoded({"instances": []}), 400, "^instances: got an empty list; expected a list of images"),
        (JSON, encoded({"instances": {"b64": B64}}), 400, "^instances: got an object; expected a list"),
        (
            JSON,
            encoded({"instances": [[[1, 2, 3]]]}),
            400,
            r"^instances\[0\]: got a list: pixels as numbers are not read",
        ),
        (JSON, encoded({"instances": [{"b64": B64}, {"a": [[1]]}]}), 400, r"^instances\[1\]: got a list: pixels"),
        (JSON, encoded({"inputs": {"input_tensor": [[[0]]]}}), 400, r"^inputs\[0\]: got a list: pixels"),
        (JSON, b"[" + b"1," * 2000 + b"1]", 400, "JSON with more than 1000 values: pixels as numbers are not read"),
        (JSON, encoded({"instances": [JPEG_B64]}), 400, r'^instances\[0\]: got base64 text; expected \{"b64": '),
        (JSON, encoded({"instances": ["s3://b/k"]}), 400, r"^instances\[0\]: got an address in S3; expected"),
        (JSON, encoded({"instances": [7]}), 400, r"^instances\[0\]: got a number; expected"),
        (JSON, encoded({"instances": [{"b64": 7}]}), 400, r"^instances\[0\]: got a number; expected"),
        (JSON, encoded({"instances": [{"b64": ""}]}), 400, r"^instances\[0\]: its b64 is empty"),
        (JSON, encoded({"instances": [{"b64": "s3://b/k.jpg"}]}), 400, r"its b64 is no base64 text \(it is an address"),
        (JSON, encoded({"instances": [{"b64": "b'" + B64 + "'"}]}), 400, r"\(it is the text of Python's bytes\)"),
        (
            JSON,
            encoded({"instances": [{"b64": B64, "key": 1}]}),
            400,
            "got an object with the keys 'b64', 'key'; expected",
        ),
        (
            JSON,
            encoded({"instances": [{"b64": B64}] * 33}),
            400,
            f"got 33 images; at most {MAX_IMAGES} are answered at",
        ),
        (
            JSON,
            encoded({"instances": [{"b64": B64}], "seed": 1}),
            400,
            "has the keys 'seed' beside instances; expected",
        ),
        (
            JSON,
            encoded({"signature_name": "x", "instances": [1]}),
            400,
            "^signature_name: got 'x'; expected encoded_im",
        ),
    ],
)
def test_every_other_body_is_called_by_its_name(content_type: str, body: bytes, status: int, sentence: str):
    with pytest.raises(RequestError, match=sentence) as caught:
        read_request(body, content_type)
    assert caught.value.status == status


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "num_detections": 1.0,
            "detection_boxes": [[0.1, 0.2, 0.3, 0.4]],
            "detection_scores": [number / 10],
            "detection_classes": [2.0],
        }
        for number in range(1, count + 1)
    ]


def answered(number: int) -> dict[str, Any]:
    return {"normalized_boxes": [[0.2, 0.1, 0.4, 0.3]], "classes": [1], "scores": [number / 10]}


def test_answers_have_the_form_of_their_request():
    labels = ["cat", "dog"]
    assert inference.answer(rows(1), labels) == answered(1)
    assert inference.answer(rows(2), labels, form="instances") == {"predictions": [answered(1), answered(2)]}
    assert inference.answer(rows(2), labels, form="inputs") == {
        "outputs": {"normalized_boxes": [[[0.2, 0.1, 0.4, 0.3]]] * 2, "classes": [[1], [1]], "scores": [[0.1], [0.2]]}
    }


@pytest.mark.parametrize("form", ["image", "instances", "inputs"])
def test_the_handler_answers_in_the_form_of_the_request(form: str, tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "labels.json").write_text('{"labels": ["cat", "dog"]}')
    monkeypatch.setattr(inference, "__file__", str(tmp_path / "code/inference.py"))
    file = io.BytesIO()
    picture(3, 2).save(file, "PNG")
    photo = file.getvalue()
    images = [{"b64": base64.b64encode(photo).decode()}] * 2
    body = photo if form == "image" else encoded({form: images})
    context = SimpleNamespace(request_content_type="image/png" if form == "image" else JSON, accept_header=JSON)
    asked = json.loads(input_handler(io.BytesIO(body), context))
    assert asked == {
        "signature_name": "encoded_images",
        "inputs" if form == "inputs" else "instances": images[:1] if form == "image" else images,
    }
    found = rows(1 if form == "image" else 2)
    content = (
        {"outputs": {name: [row[name] for row in found] for name in found[0]}}
        if form == "inputs"
        else {"predictions": found}
    )
    response = SimpleNamespace(status_code=200, content=encoded(content))
    body, media_type = output_handler(response, context)
    assert (json.loads(body), media_type) == (inference.answer(found, ["cat", "dog"], form=form), JSON)
