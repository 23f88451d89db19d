"""The artifact under the rules of SageMaker's TensorFlow Serving container, and in the hands of bare TensorFlow."""

import ast
import base64
import io
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import requests
from conftest import run_tiny
from PIL import Image
from servers import serving
from stock_container import Container, find_models, tensorflow_serving

from sagemaker_object_detection.artifact import inference
from sagemaker_object_detection.artifact.handler import handler_source
from sagemaker_object_detection.images.walk import MAX_PIXELS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(trained):
    return trained.root / "model"


@pytest.fixture(scope="module")
def images(trained):
    """JPEG, PNG, and a photograph that its EXIF orientation turns."""
    first, second = sorted((trained.root / "input/data/validation/images").iterdir())[:2]
    png, turned, exif = io.BytesIO(), io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    with Image.open(second) as image:
        image.crop((0, 0, 150, 90)).save(png, "PNG")
        image.crop((0, 0, 150, 90)).save(turned, "JPEG", exif=exif)
    return {"jpeg": first.read_bytes(), "png": png.getvalue(), "turned": turned.getvalue()}


@pytest.fixture(scope="module")
def container(model):
    with tensorflow_serving(model) as rest_uri:
        yield Container(model, rest_uri)


@pytest.fixture(scope="module")
def server(model):
    with serving(model) as running:
        yield running


def test_the_models_path_obeys_the_containers_rule(model):
    # The container looks below /opt/ml/model, which is as deep as the rule needs.
    assert find_models(str(model)) == [str(model)]
    assert sorted(path.name for path in model.iterdir()) == ["1", "code", "labels.json", "model_info.json"]
    assert (model / "code/inference.py").read_bytes() == handler_source()


def test_the_handler_needs_the_standard_library_alone(model):
    handler = model / "code/inference.py"
    tree = ast.parse(handler.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    # -I and -S: no environment, no site-packages.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import runpy; print(*sorted(runpy.run_path({str(handler)!r})))"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = done.stdout.split()
    assert {"input_handler", "output_handler"} <= set(names)
    assert "handler" not in names  # which would be called instead


ACCEPTS = [
    None,
    "application/json;verbose",
    "application/json;n_predictions=3",
    "application/json;n_predictions=2;verbose",
]


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", ["jpeg", "png", "turned"])
def test_the_handler_answers_as_serve_does(container, server, images, name, accept):
    served = requests.post(
        f"{server.address}/invocations",
        images[name],
        headers={"Content-Type": "application/x-image", "Accept": accept},
        timeout=60,
    )
    status, answered = container.invoke(images[name], "application/x-image", accept)
    assert status == served.status_code == 200
    assert len(answered["scores"]) > 0
    expected = served.json()
    assert answered.keys() == expected.keys()
    assert answered["classes"] == expected["classes"]
    assert answered.get("labels") == expected.get("labels")
    for key in ("normalized_boxes", "scores"):  # two processes; the last of six digits is the threads'
        assert flat(answered[key]) == pytest.approx(flat(expected[key]), abs=2e-6)
    if "verbose" in (accept or ""):
        given, wanted = answered["tensorflow_model_output"], expected["tensorflow_model_output"]
        assert given.keys() == wanted.keys()
        for output in wanted:
            assert flat(given[output]) == pytest.approx(flat(wanted[output]), abs=2e-6)


@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize(
    "accept", [None, "application/json;verbose;n_predictions=2", "application/json;threshold=auto"]
)
def test_the_handler_answers_json_as_serve_does(container, server, images, form, accept):
    encoded = [{"b64": base64.b64encode(image).decode()} for image in images.values()]
    body = json.dumps({"signature_name": "serving_default", form: encoded}).encode()
    served = requests.post(
        f"{server.address}/invocations",
        body,
        headers={"Content-Type": "application/json", "Accept": accept},
        timeout=60,
    )
    status, answered = container.invoke(body, None, accept)
    assert status == served.status_code == 200
    alone = [container.invoke(image, "image/jpeg", accept)[1] for image in images.values()]
    expected = (
        {"predictions": alone}
        if form == "instances"
        else {"outputs": {name: [each[name] for each in alone] for name in alone[0]}}
    )
    for given in (answered, served.json()):
        same(given, expected)


def same(given, expected):
    """But for the last of six digits, which is the batch's."""
    if isinstance(expected, dict):
        assert given.keys() == expected.keys()
        for name in expected:
            same(given[name], expected[name])
    elif isinstance(expected, list):
        assert len(given) == len(expected)
        for ours, theirs in zip(given, expected, strict=True):
            same(ours, theirs)
    elif isinstance(expected, float):
        assert given == pytest.approx(expected, abs=3e-6)
    else:
        assert given == expected


def flat(value):
    return [number for item in value for number in flat(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "sentence"),
    [
        (b"{}", None, None, "the body's JSON has no keys; expected one key with the images"),
        (b"x", "text/html", None, "Content-Type: got 'text/html'; expected application/x-image or"),
        (b"x", "image/png", "text/csv", "Accept: got 'text/csv'; expected application/json"),
        (b"x", "image/png", "application/json;n_predictions=-1", "Accept: n_predictions: got '-1'"),
        (b"x", "image/png", "x" * 5000, f"Accept: got '{'x' * 300}'; expected"),
        (b"x", "image/png", f"*/*;n_predictions={'9' * 5000}", f"Accept: n_predictions: got '{'9' * 300}'; expected"),
        (b"", "image/png", None, "the body is empty; expected one JPEG or PNG file"),
        (b"no image", "image/png", None, "the body is no JPEG or PNG file: send one, or convert the image"),
        (b"\xff\xd8\xff\xd9", "image/png", None, "the body cannot be decoded: it is cut short or damaged"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(container, body, content_type, accept, sentence):
    status, content = container.invoke(body, content_type, accept)
    assert status == 500  # which is all the container has
    assert content["error"].startswith(sentence)


def test_a_fault_of_tensorflow_serving_is_not_blamed_on_the_image():
    with pytest.raises(inference.RequestError, match=r"^TensorFlow Serving answers with status 404: no such model$"):
        inference.output_handler(SimpleNamespace(status_code=404, content=b"no such model"), None)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(container, form):
    file = io.BytesIO()
    Image.new("1" if form == "PNG" else "L", (9000, 9000)).save(file, form)
    status, content = container.invoke(file.getvalue(), "image/png", None)
    assert status == 500
    assert content["error"].startswith(
        f"the body has too many pixels (9000 x 9000 = 81000000); at most {MAX_PIXELS} are"
    )


PIXELS = """
import json
import numpy as np
import requests
from PIL import Image

def handler(data, context):
    pixels = np.array(Image.open(data).convert("RGB"))[None].tolist()
    response = requests.post(context.rest_uri, data=json.dumps({"instances": pixels}))
    found = json.loads(response.content)["predictions"][0]
    names = ("detection_boxes", "detection_scores", "detection_classes")
    return json.dumps([found[name] for name in names]), "application/json"
"""


def test_a_script_that_sends_pixels_finds_what_the_model_finds_in_the_file(model, container, images, tmp_path):
    """As JumpStart's script does, and whatever was written for models of the reference exporter."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/code/inference.py").write_text(PIXELS)
    with serving(tmp_path / "model", SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        response = requests.post(f"{server.address}/invocations", images["png"], timeout=60)
        assert response.status_code == 200, response.text
    _, answered = container.invoke(images["png"], "image/png", "application/json;verbose")
    outputs = answered["tensorflow_model_output"]
    names = ("detection_boxes", "detection_scores", "detection_classes")
    assert flat(response.json()) == pytest.approx(flat([outputs[name] for name in names]), abs=2e-6)


BARE_TENSORFLOW = """
import json, sys
sys.modules["sagemaker_object_detection"] = None  # an import of it would fail
import tensorflow as tf
model, *paths = sys.argv[1:]
loaded = tf.saved_model.load(model + "/1")
for path in paths:
    pixels = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    outputs = loaded.signatures["serving_default"](input_tensor=pixels[None])
    count = int(outputs["num_detections"][0])
    names = ("detection_boxes", "detection_scores", "detection_classes")
    print(json.dumps([outputs[name][0, :count].numpy().tolist() for name in names]))
"""


def test_bare_tensorflow_finds_what_predict_finds(model, images, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, name in zip(paths, ("png", "jpeg"), strict=True):
        Image.open(io.BytesIO(images[name])).save(path)  # PNG: every decoder makes the same pixels of it
    bare = subprocess.run(
        [sys.executable, "-c", BARE_TENSORFLOW, model, *paths], capture_output=True, text=True, check=True
    )
    predicted = run_tiny("predict", "--model", model, *paths)
    lines = list(zip(bare.stdout.splitlines(), predicted.output.splitlines(), strict=True))
    assert len(lines) == 2
    for ours, theirs in lines:
        (boxes, scores, classes), answer = json.loads(ours), json.loads(theirs)
        assert len(scores) > 0
        assert answer["scores"] == pytest.approx(scores, abs=2e-6)
        assert answer["classes"] == [int(index) - 1 for index in classes]
        corners = [[xmin, ymin, xmax, ymax] for ymin, xmin, ymax, xmax in boxes]
        assert flat(answer["normalized_boxes"]) == pytest.approx(flat(corners), abs=2e-6)
