"""What a request may ask for, and the response."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sagemaker_object_detection.artifact.inference import (
    RequestError,
    check_content_type,
    class_thresholds,
    input_handler,
    parse_accept,
    respond,
)
from sagemaker_object_detection.images.walk import MAX_PIXELS, MAX_SIDE

LABELS = ["cat", "dog"]


def outputs(count: int) -> dict[str, object]:
    """As the SavedModel gives them for one image: rows past the count are 0."""
    return {
        "num_detections": float(count),
        "detection_boxes": [[0.1, 0.2, 0.3, 0.4], [0.0] * 4],
        "detection_scores": [0.9, 0.0],
        "detection_classes": [2.0, 0.0],
    }


def test_boxes_are_xmin_ymin_xmax_ymax_and_classes_index_the_labels():
    answer = respond(outputs(1), LABELS)
    assert answer == {"normalized_boxes": [[0.2, 0.1, 0.4, 0.3]], "classes": [1], "scores": [0.9]}
    assert LABELS[answer["classes"][0]] == "dog"


def test_no_detection_is_an_empty_answer():
    assert respond(outputs(0), LABELS) == {"normalized_boxes": [], "classes": [], "scores": []}


@pytest.mark.parametrize("verbose", ["verbose", "Verbose", "verbose=true", "VERBOSE = TRUE", "verbose=1"])
def test_verbose_in_every_spelling(verbose: str):
    assert parse_accept(f"application/json; n_predictions=3;{verbose}") == (True, 3, None)


@pytest.mark.parametrize("other", ["verbose=false", "verbose=0", "verbosely", "q=0.5", "charset=utf-8"])
def test_other_parameters_ask_for_nothing(other: str):
    assert parse_accept(f"application/json;{other}") == (False, None, None)


def test_jpeg_has_two_names_as_a_content_type():
    for name in ("image/jpeg", "image/jpg", "IMAGE/JPG; charset=binary"):
        check_content_type(name)
    with pytest.raises(RequestError, match=r"^Content-Type: got 'text/html'; expected application/x-image or image"):
        check_content_type("text/html")


def png_of(width: int, height: int) -> bytes:
    """As much of a PNG as tells its size."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big")


def jpeg_of(width: int, height: int) -> bytes:
    """As much of a JPEG as tells its size, behind a comment and bytes that fill up."""
    frame = b"\xff\xc0\0\x0b\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\1\1\x11\0"
    return b"\xff\xd8\xff\xfe\0\x04hi\xff\xff" + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0"


@pytest.mark.parametrize("file_of", [png_of, jpeg_of])
def test_handler_takes_as_many_pixels_as_serve_and_no_more(file_of: Callable[[int, int], bytes]):
    context = SimpleNamespace(request_content_type="image/png", accept_header=None)
    largest = file_of(2**11, MAX_PIXELS // 2**11)
    request = json.loads(input_handler(io.BytesIO(largest), context))
    assert base64.b64decode(request["instances"][0]["b64"]) == largest
    with pytest.raises(
        RequestError, match=r"^the body has too many pixels \(2049 x 32768 = 67141632\); at most 67108864"
    ) as caught:
        input_handler(io.BytesIO(file_of(2**11 + 1, MAX_PIXELS // 2**11)), context)
    assert caught.value.status == 413


def test_handler_takes_no_longer_sides_than_serve():
    context = SimpleNamespace(request_content_type="image/png", accept_header=None)
    input_handler(io.BytesIO(png_of(1, MAX_SIDE)), context)
    with pytest.raises(RequestError, match=r"^the body is 1000001 wide and 1 high; at most 1000000 pixels on a side"):
        input_handler(io.BytesIO(png_of(MAX_SIDE + 1, 1)), context)


ROWS = {
    "num_detections": 2.0,
    "detection_boxes": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.0] * 4],
    "detection_scores": [0.9, 0.8, 0.0],
    "detection_classes": [2.0, 1.0, 0.0],
}


@pytest.mark.parametrize(
    ("threshold", "scores"),
    [
        ("0.8", [0.9, 0.8]),
        ("0.81", [0.9]),
        ("1", []),
        ("0", [0.9, 0.8]),
        (".85", [0.9]),
        ("8e-1", [0.9, 0.8]),
        ("AUTO", [0.8]),
    ],
)
def test_threshold_leaves_out_what_has_a_lower_score(threshold: str, scores: list[float]):
    thresholds = class_thresholds({"score_thresholds": {LABELS[1]: 0.95}}, LABELS)
    assert thresholds == [0.5, 0.95]
    answer = respond(ROWS, LABELS, parse_accept(f"application/json;threshold={threshold}"), thresholds)
    assert answer["scores"] == scores
    assert len(answer["normalized_boxes"]) == len(answer["classes"]) == len(scores)


def test_the_best_of_those_above_the_threshold():
    answer = respond(ROWS, LABELS, parse_accept("application/json;threshold=auto;n_predictions=1"), [0.1, 0.95])
    assert answer == {"normalized_boxes": [[0.6, 0.5, 0.8, 0.7]], "classes": [0], "scores": [0.8]}


@pytest.mark.parametrize("accept", ["application/json;threshold=0,5", "application/json; verbose; n_predictions=1,0"])
def test_a_comma_in_a_number_is_told(accept: str):
    with pytest.raises(RequestError, match=r"^Accept: got 'application/json.*,.'; expected no comma") as caught:
        parse_accept(accept)
    assert caught.value.status == 400
    assert parse_accept("application/json;threshold=0.5, text/html;q=0.1").threshold == 0.5


@pytest.mark.parametrize("value", ["", ".", "-1", "1.01", "nan", "inf", "0_5", "9" * 400, "automatic"])
def test_a_threshold_that_is_none(value: str):
    with pytest.raises(
        RequestError, match=r"^Accept: threshold: got .*; expected a number from 0 to 1, or auto"
    ) as caught:
        parse_accept(f"application/json;threshold={value}")
    assert caught.value.status == 400


def test_a_model_without_thresholds_says_so():
    accept = parse_accept("application/json;threshold=auto")
    assert class_thresholds({}, LABELS) is None
    with pytest.raises(RequestError, match=r"the model has no score thresholds.* Give a number from 0 to 1$"):
        respond(ROWS, LABELS, accept)


@pytest.mark.parametrize(
    ("found", "wanted", "given"), [(0, 1, 0), (1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2), (2, 9, 2)]
)
def test_n_predictions_is_the_most_that_is_answered(found: int, wanted: int, given: int):
    rows = {
        "num_detections": float(found),
        "detection_boxes": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.0] * 4],
        "detection_scores": [0.9, 0.8, 0.0],
        "detection_classes": [2.0, 1.0, 0.0],
    }
    answer = respond(rows, LABELS, parse_accept(f"application/json;n_predictions={wanted}"))
    assert answer == {
        "normalized_boxes": [[0.2, 0.1, 0.4, 0.3], [0.6, 0.5, 0.8, 0.7]][:given],
        "classes": [1, 0][:given],
        "scores": [0.9, 0.8][:given],
    }
