"""Which script answers: the SDKs' settings, what lies in code/, and whose it is. Nothing of it is run."""

import io
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sagemaker_object_detection.artifact.handler import handler_source
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.handlers import script as module
from sagemaker_object_detection.serving.handlers.script import find_script

OWN = "def input_handler(data, context): ...\ndef output_handler(response, context): ...\n"
JUMPSTART = '''"""Generic SM inference.py for all TensorFlow inference tasks."""
from container_setup import initialize_tf_requirements
initialize_tf_requirements()
from constants import constants
def handler(data, context): ...
'''
ADDRESS = (
    "s3://jumpstart-cache-prod-eu-west-1/source-directory-tarballs/tensorflow/inference/od1/v2.0.0/sourcedir.tar.gz"
)
SUBMIT = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}

Work = Callable[[str], Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model/code").mkdir(parents=True)
    return tmp_path / "model"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    def made(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    return made


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    caplog.set_level(logging.INFO, "sagemaker_object_detection")


def put(model: Path, text: str, name: str = "inference.py") -> Path:
    (model / "code" / name).write_text(text)
    return model / "code" / name


@pytest.mark.parametrize("environment", [{}, SUBMIT, {"SAGEMAKER_PROGRAM": "", "SAGEMAKER_SUBMIT_DIRECTORY": ""}])
def test_ours_is_answered_by_the_server_and_nothing_is_said(
    environment: dict[str, str], model: Path, work: Work, caplog: pytest.LogCaptureFixture
):
    put(model, handler_source().decode())
    assert find_script(model, environment, work) is None
    assert not caplog.messages


def test_no_script_says_nothing(model: Path, work: Work, caplog: pytest.LogCaptureFixture):
    assert find_script(model, {}, work) is None
    assert not caplog.messages


@pytest.mark.parametrize("environment", [{}, SUBMIT])
def test_jumpstarts_own_in_the_model(
    environment: dict[str, str], model: Path, work: Work, caplog: pytest.LogCaptureFixture
):
    path = put(model, JUMPSTART)
    assert find_script(model, environment, work) is None
    assert caplog.messages == [f"{path} is JumpStart's own script: it is not run, and this server answers as it does."]


def test_jumpstarts_own_by_its_address(
    model: Path, work: Work, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "fetch_s3", None)  # nothing is fetched
    assert find_script(model, {**SUBMIT, "SAGEMAKER_SUBMIT_DIRECTORY": ADDRESS}, work) is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("is JumpStart's own script: it is not run, and this server answers as it does.")


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        (OWN, ("input_handler", "output_handler")),
        ("def handler(data, context): ...", ("handler",)),
        (OWN + "def handler(data, context): ...", ("handler",)),
        ("from mine import input_handler, after as output_handler", ("input_handler", "output_handler")),
        ("handler = lambda data, context: 0", ("handler",)),
        ("try:\n    from fast import handler\nexcept ImportError:\n    handler = None", ("handler",)),
        (handler_source().decode() + "# changed\n", ("input_handler", "output_handler")),
    ],
)
def test_a_users_own_is_run(text: str, functions: tuple[str, ...], model: Path, work: Work):
    path = put(model, text)
    script = find_script(model, SUBMIT, work)
    assert script is not None
    assert (script.path, script.functions) == (path, functions)
    if "# changed" not in text:  # as the container does, which looks for the file alone
        assert find_script(model, {}, work) == script


def test_ours_of_another_version_is_answered_by_the_server(model: Path, work: Work, caplog: pytest.LogCaptureFixture):
    path = put(model, handler_source().decode().replace("def ", "def  "))
    assert find_script(model, {}, work) is None
    assert caplog.messages == [
        f"{path} is of another version of this image: it is not run, and this server answers itself."
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def model_fn(d): ...\ndef predict_fn(a, b): ...\n", "asks for (model_fn, predict_fn belong to other"),
        ("def input_handler(data, context): ...", "neither handler nor input_handler and output_handler"),
        ("class Service:\n    def handler(self): ...", "neither handler nor"),
        ("x = 1", "neither handler nor"),
    ],
)
def test_a_script_without_the_functions_is_one_warning(
    text: str, said: str, model: Path, work: Work, caplog: pytest.LogCaptureFixture
):
    path = put(model, text)
    assert find_script(model, SUBMIT, work) is None
    (message,) = caplog.messages
    assert message.startswith(f"{path} is not run, and this server answers itself: the script has")
    assert said in message


def test_another_name_and_place(model: Path, work: Work, tmp_path: Path):
    put(model, OWN)
    mine = put(model, OWN, "mine.py")
    script = find_script(model, {**SUBMIT, "SAGEMAKER_PROGRAM": "mine.py"}, work)
    assert script is not None
    assert script.path == mine
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text(OWN)
    local = {"SAGEMAKER_PROGRAM": "mine.py", "SAGEMAKER_SUBMIT_DIRECTORY": f"file://{elsewhere}"}
    script = find_script(model, local, work)
    assert script is not None
    assert script.path == elsewhere / "mine.py"


@pytest.mark.parametrize("program", ["none.py", "../../outside.py", "/etc/passwd", "a\0b", ""])
def test_a_script_that_is_not_there_is_one_warning(
    program: str, model: Path, work: Work, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "outside.py").write_text(OWN)
    assert find_script(model, {**SUBMIT, "SAGEMAKER_PROGRAM": program}, work) is None
    (message,) = caplog.messages
    assert message.startswith("SAGEMAKER_PROGRAM: ")
    assert "is not there (looked in " in message
    assert "put the script as code/inference.py into model.tar.gz" in message


def test_a_script_that_the_sdk_left_in_s3_is_fetched(model: Path, work: Work, monkeypatch: pytest.MonkeyPatch):
    fetched = []

    def fetch(address: str, folder: Path, transfer: object) -> Path:
        fetched.append(address)
        with tarfile.open(folder / "sourcedir.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("mine.py")
            member.size = len(OWN)
            archive.addfile(member, io.BytesIO(OWN.encode()))
        return folder / "sourcedir.tar.gz"

    monkeypatch.setattr(module, "fetch_s3", fetch)
    address = "s3://bucket/model/sourcedir.tar.gz"
    script = find_script(model, {"SAGEMAKER_PROGRAM": "mine.py", "SAGEMAKER_SUBMIT_DIRECTORY": address}, work)
    assert script is not None
    assert fetched == [address]
    assert script.path.read_text() == OWN


@pytest.mark.parametrize(
    ("text", "reason"), [("def handler(:", ", line 1: is no Python"), ("\0", "is no Python script")]
)
def test_a_script_that_is_no_python_ends_the_server(text: str, reason: str, model: Path, work: Work):
    put(model, text)
    with pytest.raises(UserError, match=reason):
        find_script(model, {}, work)


def test_a_pipe_in_place_of_a_script_is_not_waited_for(model: Path, work: Work):
    import os

    os.mkfifo(model / "code/inference.py")
    assert find_script(model, {}, work) is None
