"""Where memory is short: fewer images are decoded at a time, and one that it has no room for is named."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from PIL import Image

from sagemaker_object_detection.images import decoding
from sagemaker_object_detection.images.decoding import SHARE, Pixels, check_decoding
from sagemaker_object_detection.images.headers import NO_ROOM, Header, UnusableImageError, read_headers

SIDE = 1000


@pytest.fixture
def images(tmp_path: Path) -> tuple[list[Path], list[Header]]:
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        Image.radial_gradient("L").resize((SIDE, SIDE)).save(path, compress_level=1)
    headers = [header for header in read_headers(paths) if isinstance(header, Header)]
    return paths, headers


def with_room(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(decoding, "room_to_compute", lambda: int(size / SHARE) + 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


def replace_decoder(monkeypatch: pytest.MonkeyPatch, around: Callable[[Callable[[], Any]], Any]) -> None:
    examined = decoding._examined
    monkeypatch.setattr(decoding, "_examined", lambda *given: around(lambda: examined(*given)))


def test_no_more_is_decoded_at_a_time_than_there_is_room_for(
    images: tuple[list[Path], list[Header]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, headers = images
    with_room(monkeypatch, 2.5 * headers[0].decoding_bytes)
    under_way, most, lock = 0, 0, threading.Lock()

    def count(decode: Callable[[], Any]) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        try:
            return decode()
        finally:
            with lock:
                under_way -= 1

    replace_decoder(monkeypatch, count)
    found = check_decoding(paths, headers)
    assert len(found) == 8
    assert all(isinstance(each, Pixels) for each in found)
    assert most <= 2


def exhausted() -> tf.errors.ResourceExhaustedError:
    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_what_memory_had_no_room_for_beside_others_is_tried_alone(
    images: tuple[list[Path], list[Header]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, headers = images
    with_room(monkeypatch, 4 * headers[0].decoding_bytes)
    failed: list[int] = []

    def first_fails(decode: Callable[[], Any]) -> Any:
        if not failed:
            failed.append(1)
            raise exhausted()
        return decode()

    replace_decoder(monkeypatch, first_fails)
    assert all(isinstance(each, Pixels) for each in check_decoding(paths, headers))


def test_an_image_that_memory_has_no_room_for_is_named(
    images: tuple[list[Path], list[Header]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, headers = images

    def fails(decode: Callable[[], Any]) -> Any:
        raise exhausted()

    replace_decoder(monkeypatch, fails)
    (found,) = check_decoding(paths[:1], headers[:1])
    assert isinstance(found, UnusableImageError)
    assert found.kind == NO_ROOM
    assert "1000 wide and 1000 high, and memory has no room to decode it: it may take 12 MB" in str(found)
