"""A user's script in its processes: what it is told, what it answers, and all the ways in which it can fail."""

import base64
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from constant_model import save_model
from servers import serving, started
from test_server import answer, picture

from sagemaker_object_detection.artifact.inference import RequestError
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.handlers import processes as module
from sagemaker_object_detection.serving.handlers.processes import UserHandler
from sagemaker_object_detection.serving.handlers.rest import RestInterface
from sagemaker_object_detection.serving.handlers.script import find_script
from sagemaker_object_detection.serving.queue import BatchQueue

pytestmark = pytest.mark.slow

FIELDS = {
    "model_name": None,
    "model_version": None,
    "method": None,
    "grpc_port": None,
    "channel": None,
    "custom_attributes": "tfs-model-name=x",
    "request_content_type": "text/mine",
    "accept_header": "text/yours",
    "content_length": 2,
}
Start = Callable[..., UserHandler]


def detect(images: Sequence[bytes]) -> list[dict[str, Any]]:
    return [{"bytes": float(len(image))} for image in images]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(module, "RESTART_SECONDS", 60.0)  # however slow the machine is
        queue = BatchQueue(1)
        stack.callback(queue.close, 10)

        def work(name: str) -> Path:
            (tmp_path / name).mkdir()
            return tmp_path / name

        def begin(text: str, count: int = 1) -> UserHandler:
            (tmp_path / "code").mkdir(exist_ok=True)
            (tmp_path / "code/inference.py").write_text(text)
            script = find_script(tmp_path, {}, work)
            assert script is not None
            handler = UserHandler(script, RestInterface(queue, detect, detect), count, work)
            stack.callback(handler.close)
            return handler

        yield begin


def ask(handler: UserHandler, body: bytes = b"hi") -> tuple[bytes, str]:
    return handler.call(body, FIELDS, "model").result(60)


def test_what_a_handler_is_told_and_its_answer(start: Start):
    handler = start(
        "import json\n"
        "def handler(data, context):\n"
        "    told = {**context._asdict(), 'body': data.read().decode(), 'grpc_uri': context.grpc_uri}\n"
        "    return json.dumps(told), 'application/mine; x=1'\n"
    )
    content, media_type = ask(handler)
    told = json.loads(content)
    assert media_type == "application/mine; x=1"
    assert told.pop("rest_uri").startswith("http://127.0.0.1:")
    assert told == {**FIELDS, "body": "hi", "grpc_uri": None}


def test_a_handler_asks_the_model_by_its_address(start: Start):
    image = base64.b64encode(picture(1, 2)).decode()
    handler = start(
        "import requests\n"
        "def handler(data, context):\n"
        f"    response = requests.post(context.rest_uri, json={{'instances': [{{'b64': {image!r}}}]}})\n"
        "    return response.content, context.accept_header\n"
    )
    assert json.loads(ask(handler)[0]) == {"predictions": [{"bytes": float(len(picture(1, 2)))}]}


def test_input_and_output_handler(start: Start):
    handler = start(
        "import base64, json\n"
        "def input_handler(data, context):\n"
        "    return json.dumps({'instances': [{'b64': base64.b64encode(data.read()).decode()}]})\n"
        "def output_handler(response, context):\n"
        "    return f'{response.status_code} {response.json()}', 'text/plain'\n"
    )
    size = float(len(picture(1, 2)))
    assert ask(handler, picture(1, 2)) == (f"200 {{'predictions': [{{'bytes': {size}}}]}}".encode(), "text/plain")
    assert ask(handler, b"no image")[0].startswith(b"400 {'error': ")


WRITES = (
    "import os, stat\n"
    "def write(content):\n"
    "    for number in os.listdir('/proc/self/fd'):\n"
    "        if os.path.exists('/proc/self/fd/' + number) and stat.S_ISSOCK(os.stat(int(number)).st_mode):\n"
    "            os.write(int(number), content)\n"
)
"""Defines what writes into the process's own pipe, as a script does by the number of a file that it has closed."""


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\4junk",
        b"\0\0\0\4N.",
        b"\xff\xff\xff\xff" + b"\x7f" * 8,
        b"\0\0\0\x0d" + b"(K\x01K\x02t.",
        b"\0\0\0\x16" + b"ccollections\nCounter\n.",
    ],
    ids=["no pickle", "half a message", "a length beyond memory", "another tuple", "a class"],
)
def test_a_script_that_writes_into_its_pipe_is_told_and_the_next_request_is_answered(
    content: bytes, start: Start, monkeypatch: pytest.MonkeyPatch
):
    handler = start(
        WRITES + "import time\ndef handler(data, context):\n"
        f"    if data.read() == b'bad':\n        write({content!r})\n        time.sleep(600)\n"
        "    return b'good', 'text/plain'\n"
    )
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.0)
    with pytest.raises(RequestError, match="wrote into its pipe") as caught:
        ask(handler, b"bad")
    assert caught.value.status == 500
    monkeypatch.undo()
    assert ask(handler, b"good") == (b"good", "text/plain")


def test_a_fork_that_comes_back_from_the_script_does_not_answer_too(start: Start):
    handler = start(
        "import os\ndef handler(data, context):\n"
        "    body = data.read()\n"
        "    if body == b'fork': os.fork()\n"
        "    return body, 'text/plain'\n"
    )
    assert [ask(handler, body)[0] for body in (b"fork", b"1", b"2")] == [b"fork", b"1", b"2"]


def test_the_trace_of_a_long_error_is_cut(start: Start, caplog: pytest.LogCaptureFixture):
    handler = start("def handler(data, context):\n    raise ValueError('x' * 10**6)\n")
    with pytest.raises(RequestError, match="ValueError: xxx"):
        ask(handler)
    assert 1_000 < len(caplog.text) < 50_000


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("raise ValueError('no\\nimage')", r"^inference.py failed on this request \(ValueError: no image\)$"),
        ("raise SystemExit", r"failed on this request \(SystemExit\)"),
        ("import os; os._exit(3)", "inference.py ended its process while it answered this request"),
        ("return 'text'", r"returned str; expected of handler \(text or bytes, its media type\)"),
        ("return None", "returned NoneType; expected"),
        ("return ({}, 'application/json')", r"returned \(dict, str\); expected"),
        ("return ('x', 'a\\nb')", r"returned the media type 'a\\nb'; expected printable ASCII"),
    ],
)
def test_a_request_that_fails_is_told_and_the_next_is_answered(
    line: str, sentence: str, start: Start, caplog: pytest.LogCaptureFixture
):
    handler = start(
        "def handler(data, context):\n    if data.read() == b'bad':\n        "
        + line
        + "\n    return b'good', 'text/plain'\n"
    )
    with pytest.raises(RequestError, match=sentence) as caught:
        ask(handler, b"bad")
    assert caught.value.status == 500
    assert ask(handler, b"good") == (b"good", "text/plain")


def test_a_script_that_hangs_is_ended_and_the_next_request_is_answered(start: Start, monkeypatch: pytest.MonkeyPatch):
    handler = start(
        "import time\ndef handler(data, context):\n"
        "    if data.read() == b'bad': time.sleep(600)\n"
        "    return b'', 'a/b'\n"
    )
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    with pytest.raises(RequestError, match="did not answer within 0 seconds; its process was ended") as caught:
        ask(handler, b"bad")
    assert caught.value.status == 504
    monkeypatch.undo()
    assert ask(handler, b"good") == (b"", "a/b")


def test_while_a_process_is_started_again_the_others_answer(start: Start, tmp_path: Path):
    handler = start(
        "import os, pathlib, time\n"
        f"folder = pathlib.Path({str(tmp_path / 'started')!r})\n"
        "folder.mkdir(exist_ok=True)\n"
        "(folder / str(os.getpid())).touch()\n"
        "if len(list(folder.iterdir())) > 2: time.sleep(600)\n"
        "def handler(data, context):\n"
        "    if data.read() == b'bad': os._exit(3)\n"
        "    return b'good', 'a/b'\n",
        count=2,
    )
    with pytest.raises(RequestError, match="ended its process"):
        ask(handler, b"bad")
    for _ in range(3):
        assert ask(handler) == (b"good", "a/b")


def test_who_waits_too_long_for_a_process_that_is_started_again_is_told(start: Start, monkeypatch: pytest.MonkeyPatch):
    handler = start("import os\ndef handler(data, context):\n    os._exit(3)\n")
    monkeypatch.setattr(handler, "_started", lambda: SimpleNamespace(imported=threading.Event().wait))
    with pytest.raises(RequestError, match="ended its process"):
        ask(handler)
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.1)  # of PATIENCE, 55, nothing is waited for
    with pytest.raises(RequestError, match="is being started again; try again") as caught:
        ask(handler)
    assert caught.value.status == 503


def test_at_a_stop_what_is_not_answered_in_time_is_503(start: Start):
    handler = start("import time\ndef handler(data, context):\n    time.sleep(600)\n")
    waiting = [handler.call(b"", FIELDS, "model") for _ in range(3)]
    handler.stop_within(0.0)
    for future in waiting:
        with pytest.raises(RequestError, match="the server is stopping; try again") as caught:
            future.result(60)
        assert caught.value.status == 503


def test_closing_ends_what_hangs(start: Start):
    handler = start("import time\ndef handler(data, context):\n    time.sleep(600)\n", 2)
    waiting = [handler.call(b"", FIELDS, "model") for _ in range(4)]
    handler.close()
    for future in waiting:
        with pytest.raises(BaseException):  # noqa: B017, PT011 (refused, or cancelled before it began)
            future.result(60)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import not_there\ndef handler(d, c): ...",
            r"cannot be imported \(ModuleNotFoundError: No module named 'not_there'\)",
        ),
        ("import sys\ndef handler(d, c): ...\nsys.exit(1)", r"cannot be imported \(SystemExit: 1\)"),
        ("import os\ndef handler(d, c): ...\nos._exit(1)", "ended its process while it was imported"),
        (WRITES + "write(b'\\0\\0\\0\\4junk')\ndef handler(d, c): ...", "wrote into its pipe"),
        ("handler = None", r"TypeError: handler is NoneType; expected def"),
        ("async def handler(data, context): ...", r"TypeError: handler is async; expected def"),
    ],
)
def test_a_script_that_cannot_be_imported_ends_the_server(text: str, sentence: str, start: Start):
    with pytest.raises(UserError, match=sentence + ".*; correct it, put packages that it lacks into .*/code/lib, or"):
        start(text)


def test_what_a_script_has_started_ends_with_it(start: Start):
    handler = start(
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        "def handler(data, context):\n    return str(child.pid), 'text/plain'\n"
    )
    pid = int(ask(handler)[0])
    handler.close()
    for process in handler._processes:
        process._process.join(10)
    assert not Path(f"/proc/{pid}/stat").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


def test_packages_of_its_own(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "code/lib").mkdir(parents=True)
    (tmp_path / "code/lib/mine.py").write_text("word = 'lib'")
    (tmp_path / "code/beside.py").write_text("word = 'code'")
    (tmp_path / "code/requirements.txt").write_text("not-installed\n")
    handler = start("import mine, beside\ndef handler(d, c): return mine.word + beside.word, 'text/plain'\n")
    assert ask(handler) == (b"libcode", "text/plain")


def test_requirements_are_installed_for_the_script_alone(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "code").mkdir()
    with zipfile.ZipFile(tmp_path / "code/mine-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mine.py", "word = 'wheel'")
        wheel.writestr("mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        wheel.writestr("mine-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("mine-1.0.dist-info/RECORD", "mine.py,,\n")
    (tmp_path / "code/requirements.txt").write_text("./mine-1.0-py3-none-any.whl\n")
    handler = start("import mine\ndef handler(d, c): return mine.word, 'text/plain'\n")
    assert ask(handler) == (b"wheel", "text/plain")


def test_requirements_that_cannot_be_had_are_a_sentence(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/requirements.txt").write_text("not-there==1.0\n")
    with pytest.raises(
        UserError, match=r"requirements.txt: cannot be installed \(.*not-there.*put them into .*code/lib"
    ):
        start("def handler(d, c): ...\n")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("scripted") / "model")


SCRIPT = """
import base64, json

def input_handler(data, context):
    if context.request_content_type == "application/slow":
        print("asleep", flush=True)
        data.read(), __import__("time").sleep(1.0)
    return json.dumps({"instances": [{"b64": base64.b64encode(data.getvalue()).decode()}]})

def output_handler(response, context):
    best = json.loads(response.content)["predictions"][0]["detection_scores"][0]
    return json.dumps({"best": best, "model": context.model_name}), "application/x-mine"
"""


def with_script(model: Path, text: str) -> Path:
    (model / "code").mkdir(exist_ok=True)
    (model / "code/inference.py").write_text(text)
    return model


def test_a_server_answers_with_the_script_and_ends_well(model: Path):
    with serving(
        with_script(model, SCRIPT),
        SAGEMAKER_MODEL_SERVER_WORKERS="1",
        SAGEMAKER_PROGRAM="inference.py",
        SAGEMAKER_SUBMIT_DIRECTORY="/opt/ml/model/code",
    ) as server:
        address = f"{server.address}/invocations"
        response = requests.post(address, picture(51, 200), headers={"Content-Type": "anything/else"}, timeout=60)
        assert (response.status_code, response.headers["content-type"]) == (200, "application/x-mine")
        assert response.json() == {"best": pytest.approx(0.2, abs=1e-6), "model": None}
        failed = requests.post(address, b"no image", timeout=60)
        assert failed.status_code == 500
        assert failed.json()["error"].startswith("inference.py failed on this request (KeyError: 'predictions')")
        server.wait_for("Traceback")
        assert requests.get(f"{server.address}/ping", timeout=2).status_code == 200
        # A request under way at SIGTERM is answered, though its script asks the model only then.
        import threading

        answers: list[requests.Response] = []
        slow = {"Content-Type": "application/slow"}
        client = threading.Thread(target=lambda: answers.append(requests.post(address, picture(51, 200), headers=slow)))
        client.start()
        server.wait_for("asleep")
        assert server.stop() == 0
        client.join()
        assert (answers[0].status_code, answers[0].json()["best"]) == (200, pytest.approx(0.2, abs=1e-6))


def test_a_script_without_handlers_is_one_warning_and_the_server_answers(model: Path):
    with serving(with_script(model, "def model_fn(path): ...\n")) as server:
        server.wait_for("^WARNING: .*code/inference.py is not run, and this server answers itself")
        response = requests.post(
            f"{server.address}/invocations", picture(51, 200), headers={"Content-Type": "image/png"}, timeout=60
        )
        assert response.json() == answer(51, 200)


def test_a_script_that_cannot_be_imported_ends_the_process(model: Path):
    with started("--model", with_script(model, "import not_there\ndef handler(d, c): ...\n")) as server:
        assert server.process.wait(120) == 2
        server.wait_for("^ERROR: .*code/inference.py cannot be imported .*; correct it")
