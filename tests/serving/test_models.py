"""A multi-model endpoint by SageMaker's contract: loads, lists, invokes and unloads, and never beyond its room."""

import asyncio
import gc
import json
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from constant_model import save_model
from servers import Server, started
from test_app import ask
from test_server import answer, picture

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving import models as module
from sagemaker_object_detection.serving.app import Service
from sagemaker_object_detection.serving.model import Model
from sagemaker_object_detection.serving.models import Models
from sagemaker_object_detection.serving.queue import BatchQueue

INFO = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": ["cat"], "category_ids": [1]}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A folder that looks like a model."""
    (tmp_path / "model_info.json").write_text(json.dumps(INFO))
    return str(tmp_path)


def constant(score: float) -> Model:
    def detect(images: Sequence[bytes]) -> list[dict[str, Any]]:
        one = {"num_detections": 1.0, "detection_boxes": [[0.0] * 4], "detection_classes": [1.0]}
        return [{**one, "detection_scores": [score]} for _ in images]

    return Model(detect, Labels((1,), ("cat",)))


def endpoint(most: int | None = 3, load: Callable[[Path], Model] = lambda _: constant(0.5)) -> tuple[Service, Models]:
    models = Models(most)
    models.load_model = load
    return Service(max_payload=2**20, transforms=1, queue=BatchQueue(1), models=models), models


def load(service: Service, name: Any, url: Any) -> tuple[int, Any]:
    return ask(service, "POST", "/models", [json.dumps({"model_name": name, "url": url}).encode()])


def test_the_contract(url: str):
    service, _ = endpoint()
    assert ask(service, "GET", "/ping") == (200, {"status": "healthy"})
    assert ask(service, "GET", "/models") == (200, {"models": []})
    described = {"modelName": "a", "modelUrl": url}
    assert load(service, "a", url) == (200, described)
    assert ask(service, "GET", "/models/a") == (200, described)
    assert ask(service, "GET", "/models") == (200, {"models": [described]})
    status, content = ask(service, "POST", "/models/a/invoke", [picture(1, 2)])
    assert (status, content["scores"]) == (200, [0.5])
    assert load(service, "a", url) == (409, {"error": f"model 'a' is loaded already, from {url!r}"})
    assert ask(service, "DELETE", "/models/a")[0] == 200
    gone = (404, {"error": "model 'a' is not loaded; load it with POST /models"})
    assert ask(service, "POST", "/models/a/invoke", [picture(1, 2)]) == gone
    assert ask(service, "GET", "/models/a") == gone
    assert ask(service, "DELETE", "/models/a") == gone
    assert load(service, "a", url)[0] == 200
    assert service.bodies.held == 0
    status, content = ask(service, "POST", "/invocations", [picture(1, 2)])
    assert status == 404
    assert content["error"].endswith("expected GET /ping or POST /models/NAME/invoke")


def test_the_fourth_has_no_room_until_one_is_unloaded(url: str):
    service, _ = endpoint(most=3)
    assert [load(service, name, url)[0] for name in "abcd"] == [200, 200, 200, 507]
    assert load(service, "d", url)[1] == {
        "error": "no room for model 'd': 3 are loaded (SAGEMAKER_OD_MAX_MODELS); unload one"
    }
    ask(service, "DELETE", "/models/b")
    assert load(service, "d", url)[0] == 200


def test_a_memory_without_room_is_507(url: str, monkeypatch: pytest.MonkeyPatch):
    service, _ = endpoint(most=None)
    monkeypatch.setattr(module, "memory_limit", lambda: 4 * 2**30)
    monkeypatch.setattr(module, "available_memory", lambda: 900 * 2**20)
    status, content = load(service, "a", url)
    assert status == 507
    assert "it may take 128 MB, and 900 MB of the memory are free, of which 819 MB are kept" in content["error"]
    monkeypatch.setattr(module, "available_memory", lambda: 950 * 2**20)
    assert load(service, "a", url)[0] == 200


@pytest.mark.parametrize("error", [MemoryError(), type("ResourceExhaustedError", (Exception,), {})("OOM")])
def test_memory_that_runs_out_while_a_model_is_loaded_is_507(error: Exception, url: str):
    def fail(_: Path) -> Model:
        raise error

    service, models = endpoint(load=fail)
    assert load(service, "a", url)[0] == 507
    models.load_model = lambda _: constant(0.1)
    assert load(service, "a", url)[0] == 200


def test_a_model_that_is_none_and_a_fault_are_told(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def fail(_: Path) -> Model:
        raise ZeroDivisionError("no number")

    service, _ = endpoint(load=fail)
    status, content = load(service, "a", str(tmp_path / "none"))
    assert (status, content["error"][:60]) == (400, f"{tmp_path}/none: holds no model_info.json"[:60])
    status, content = load(service, "a", url)
    assert (status, content["error"]) == (500, "the model could not be loaded (ZeroDivisionError: no number)")


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 513, None, 7, ["a"], "\ud800"])
def test_names_that_are_none(name: Any, url: str):
    status, content = load(endpoint()[0], name, url)
    assert (status, content["error"][:16]) == (400, "model_name: got ")


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a b", "é", "x" * 512, "__proto__", "a:predict", "models"])
def test_names_are_text_and_no_paths(name: str, url: str):
    service, _ = endpoint()
    assert load(service, name, url)[0] == 200
    assert ask(service, "POST", f"/models/{name}/invoke", [picture(1, 2)])[0] == 200
    assert ask(service, "DELETE", f"/models/{name}")[0] == 200


@pytest.mark.parametrize("place", ["", "relative", "s3://bucket/key", "/a\nb", "/" + "x" * 5000, None, {}])
def test_places_that_are_none(place: Any):
    status, content = load(endpoint()[0], "a", place)
    assert (status, content["error"][:9]) == (400, "url: got ")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", "the body: expected"),
        (b"[]", "the body: expected"),
        (b"{", "the body is not JSON"),
        (b'{"model_name": "a"}', "the body: expected"),
    ],
)
def test_bodies_of_loads_that_are_none(body: bytes, sentence: str):
    status, content = ask(endpoint()[0], "POST", "/models", [body])
    assert (status, content["error"][: len(sentence)]) == (400, sentence)
    assert ask(endpoint()[0], "POST", "/models", [bytes(2**16 + 1)])[0] == 413


def test_many_models_are_listed_in_pages(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAGE", 2)
    service, models = endpoint(most=None)
    monkeypatch.setattr(module, "available_memory", lambda: 2**40)
    for name in "edcba":
        load(service, name, url)
    pages, token = [], ""
    while True:
        page = models.page(token)
        pages.append("".join(model["modelName"] for model in page["models"]))
        token = page.get("nextPageToken")
        if token is None:
            break
    assert pages == ["ab", "cd", "e"]


def test_a_model_that_two_ask_for_is_loaded_once(url: str):
    calls = []

    def slow(folder: Path) -> Model:
        calls.append(folder)
        return constant(0.5)

    async def both() -> tuple[Any, Any]:
        _, models = endpoint(load=slow)
        return await asyncio.gather(models.load("a", url), models.load("a", url), return_exceptions=True)

    first, second = asyncio.run(both())
    assert (first, second.status, len(calls)) == (None, 409, 1)


def test_while_one_is_loaded_others_answer_and_its_room_is_taken(url: str):
    go_on = threading.Event()

    def slow(folder: Path) -> Model:
        assert go_on.wait(60)
        return constant(0.5)

    async def run() -> None:
        service, models = endpoint(most=2)
        await models.load("quick", url)
        models.load_model = slow
        loading = asyncio.create_task(models.load("slow", url))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="'slow' is still being loaded") as caught, models.use("slow"):
            pass
        assert caught.value.status == 404
        with pytest.raises(RequestError) as full:
            await models.load("third", url)
        assert full.value.status == 507
        with models.use("quick") as model:
            output = await asyncio.wrap_future(service.queue.put(model.detect, b"", 1))
            assert output["detection_scores"] == [0.5]
        go_on.set()
        await loading

    asyncio.run(run())


def test_unloading_waits_for_the_requests_under_way(url: str):
    async def run() -> None:
        _, models = endpoint()
        await models.load("a", url)
        with models.use("a"):
            unloading = asyncio.create_task(models.unload("a"))
            await asyncio.sleep(0)
            with pytest.raises(RequestError, match="'a' is not loaded"), models.use("a"):
                pass  # new ones do not find it
            with pytest.raises(RequestError, match="'a' is being unloaded; try again"):
                await models.load("a", url)
            assert not unloading.done()
        await unloading
        await models.load("a", url)

    asyncio.run(run())


def test_nothing_keeps_a_model_that_is_unloaded(url: str):
    async def run() -> "weakref.ref[Model]":
        service, models = endpoint()
        await models.load("a", url)
        with models.use("a") as model:
            await asyncio.wrap_future(service.queue.put(model.detect, b"", 1))
            kept = weakref.ref(model)
            del model
        await models.unload("a")
        return kept

    kept = asyncio.run(run())
    gc.collect()  # a future and its callbacks may know each other
    assert kept() is None


def test_a_load_that_fails_leaves_its_room(url: str):
    def fail(_: Path) -> Model:
        raise UserError("broken: mend it")

    service, models = endpoint(most=1, load=fail)
    assert load(service, "a", url) == (400, {"error": "broken: mend it"})
    models.load_model = lambda _: constant(0.5)
    assert load(service, "b", url)[0] == 200


def test_at_a_stop_no_load_begins(url: str):
    service, models = endpoint()
    models.stop_within(1.0)
    assert load(service, "a", url) == (503, {"error": "the server is stopping; try again"})


SHARES = [0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [
        save_model(tmp_path_factory.mktemp(f"model-{number}") / "model", share) for number, share in enumerate(SHARES)
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started(SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_OD_MAX_MODELS="3") as running:
        running.wait_for(r"Ready after")
        yield running


@pytest.mark.slow
def test_50_clients_5_models_room_for_3(server: Server, folders: list[Path]):
    """As SageMaker does: whoever meets a model that is not there loads it, and unloads another if there is no room."""
    counts: Counter[str] = Counter()
    turns = threading.Lock()

    def client(number: int) -> None:
        with requests.Session() as session:
            for turn in range(6):
                which = (number // 10 + turn // 3) % len(SHARES)
                ask_for(session, which, red=(number * 5 + turn) % 256, width=20 + number)

    def ask_for(session: requests.Session, which: int, red: int, width: int) -> None:
        for _ in range(400):
            response = session.post(
                f"{server.address}/models/m{which}/invoke",
                picture(red, width),
                headers={"Content-Type": "image/png"},
                timeout=60,
            )
            counts[f"invoke {response.status_code}"] += 1
            if response.status_code == 200:
                expected = answer(red, width)
                given = response.json()
                assert given["normalized_boxes"] == expected["normalized_boxes"]
                assert given["scores"][0] == pytest.approx(SHARES[which] * red / 255, abs=3e-6)
                return
            assert response.status_code == 404, response.text
            with turns:  # SageMaker manages the models of an instance one after the other
                make_room_and_load(session, which)
        raise AssertionError(f"m{which} was never there")

    def make_room_and_load(session: requests.Session, which: int) -> None:
        body = {"model_name": f"m{which}", "url": str(folders[which])}
        loaded = session.post(f"{server.address}/models", json=body, timeout=60)
        counts[f"load {loaded.status_code}"] += 1
        assert loaded.status_code in (200, 409, 507), loaded.text
        listed = session.get(f"{server.address}/models", timeout=60).json()["models"]
        assert len(listed) <= 3
        if loaded.status_code == 507:
            oldest = listed[counts["load 507"] % len(listed)]["modelName"]
            gone = session.delete(f"{server.address}/models/{oldest}", timeout=60)
            counts[f"unload {gone.status_code}"] += 1
            assert gone.status_code == 200, gone.text
            assert session.post(f"{server.address}/models", json=body, timeout=60).status_code == 200
        assert requests.get(f"{server.address}/ping", timeout=2).status_code == 200

    with ThreadPoolExecutor(50) as clients:
        for done in [clients.submit(client, number) for number in range(50)]:
            done.result()
    assert counts["invoke 200"] == 300
    assert counts["load 507"] >= 2  # five models, and room for three
    assert counts["unload 200"] == counts["load 507"]


@pytest.mark.slow
def test_stop_with_models_ends_with_0(folders: list[Path]):
    with started(SAGEMAKER_MULTI_MODEL="true") as server:
        server.wait_for(r"Ready after")
        body = {"model_name": "a", "url": str(folders[4])}
        assert requests.post(f"{server.address}/models", json=body, timeout=60).status_code == 200
        assert server.stop() == 0
        server.wait_for("^Stopped.$")
