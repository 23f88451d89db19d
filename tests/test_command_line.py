"""The verbs that need no model: what they print, and what they answer to nonsense."""

import ctypes
import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Run, run_verb, write_job

from sagemaker_object_detection.__main__ import main
from sagemaker_object_detection.describe import describe_json, describe_markdown
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.job.metrics import METRICS, training_line, validation_lines
from sagemaker_object_detection.script_mode import supervisor

# The command, with a stand-in for what a verb does, and with signals that arrive while a module is being imported.
COMMAND = """
import os, runpy, signal, sys, types

class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {moment!r}:
            for number in {signals}:
                os.kill(os.getpid(), number)

stand_in = types.ModuleType({module!r})
exec({source!r}, stand_in.__dict__)
sys.modules[{module!r}] = stand_in
sys.meta_path.insert(0, Strike())
runpy.run_module("sagemaker_object_detection", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of a job without any file."""
    (tmp_path / "input").mkdir()
    return tmp_path


def run_stand_in(verb: str, source: str, *arguments: object, moment: str = "", signals: tuple[int, ...] = ()) -> Run:
    module = f"sagemaker_object_detection.{verb}"
    command = COMMAND.format(moment=moment, signals=[int(number) for number in signals], module=module, source=source)
    done = subprocess.run(
        [sys.executable, "-c", command, verb, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(Path("/nonexistent"), done.returncode, done.stdout, done.stderr)


WAITS_FOR_A_STOP = """
from sagemaker_object_detection.job.stop import StopSignal
def train(paths):
    with StopSignal() as stop:
        print(stop.requested, 60 < stop.seconds_left <= 120)
"""


@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)]
)
def test_a_signal_that_comes_before_anything_is_imported_stops_the_job(root, signals):
    done = run_stand_in("train", WAITS_FOR_A_STOP, "--root", root, moment="argparse", signals=signals)
    assert (done.code, done.output, done.errors) == (0, "True True\n", "")


def test_a_signal_that_comes_when_the_job_is_over_does_not_hurt(root):
    source = (
        "import atexit, os\natexit.register(lambda: print('left', os.kill(os.getpid(), 15)))\n"
        "def train(paths):\n    os.kill(os.getpid(), 15)\n    print('saved')\n"
    )
    done = run_stand_in("train", source, "--root", root)
    assert (done.code, done.output, done.errors) == (0, "saved\nleft None\n", "")


def test_a_job_that_is_over_waits_for_no_thread(root):
    """Python would, and TensorFlow's end takes seconds."""
    source = (
        "import atexit, concurrent.futures as futures, threading\natexit.register(print, 'left')\n"
        "def train(paths):\n    futures.ThreadPoolExecutor(1).submit(threading.Event().wait)\n    print('saved')\n"
    )
    done = run_stand_in("train", source, "--root", root)
    assert (done.code, done.output, done.errors) == (0, "saved\nleft\n", "")


def test_a_job_that_a_stop_does_not_end_ends_before_it_is_killed(root):
    source = (
        "import os, time\nfrom sagemaker_object_detection.job import stop\nstop._LAST_SECONDS = stop.GRACE_SECONDS\n"
        "def train(paths):\n    os.kill(os.getpid(), 15)\n    time.sleep(600)\n"
    )
    done = run_stand_in("train", source, "--root", root)
    assert (done.code, done.errors) == (143, "")
    assert done.output == (
        "WARNING: 0 seconds after the signal the process is still at work, and ends here. Files that it had finished "
        "are whole.\n"
    )


def test_other_verbs_are_interrupted_at_once(tmp_path):
    # A background job of a shell is started with SIGINT ignored, and so are these tests where they are one.
    source = (
        "import os, signal\nsignal.signal(2, signal.default_int_handler)\n"
        "def check(paths):\n    os.kill(os.getpid(), 2)\n    print('checked')\n"
    )
    done = run_stand_in("check", source, "--root", tmp_path)
    assert (done.code, done.output, done.errors) == (130, "", "")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full: give the job a larger volume (volume_size)"),
        (errno.EROFS, "the file system is read-only: mount it writable"),
    ],
)
def test_a_fault_of_the_machine_is_said_without_a_traceback(root, number, said):
    source = f"import os\ndef train(paths):\n    raise OSError({number}, os.strerror({number}), '/x')\n"
    done = run_stand_in("train", source, "--root", root)
    assert done.code == 3
    assert done.output == f"ERROR: PlatformError: {said}\nOSError: [Errno {number}] {os.strerror(number)}: '/x'\n"
    assert done.errors == ""


def test_a_fault_of_ours_is_said_with_its_traceback(root):
    done = run_stand_in("train", "def train(paths):\n    raise ValueError('shapes differ')\n", "--root", root)
    assert done.code == 1
    assert done.output.startswith("ERROR: AlgorithmError: ValueError: shapes differ\nThis is a fault of the container:")
    assert done.output.endswith("\nValueError: shapes differ\n")
    assert "Traceback (most recent call last):" in done.output


WORK = {
    "train": "train.train",
    "check": "check.check",
    "describe": "describe.describe_markdown",
    "predict --model m a.jpg": "serving.predict.predict_files",
    "serve": "serving.server.serve",
}
"""Verbs with their arguments, and which function does the work."""


@pytest.fixture
def run_here(monkeypatch, root, capsys):
    """Runs a verb of WORK in this process, with something else in place of its work: exit code, stdout and stderr."""
    log = logging.getLogger("sagemaker_object_detection")
    before = list(log.handlers), log.level, log.propagate
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))

    def run(command, work):
        module, function = WORK[command].rsplit(".", 1)
        stand_in = SimpleNamespace(**{function: lambda *_, **named: work(log)}, describe_json=None)
        monkeypatch.setitem(sys.modules, f"sagemaker_object_detection.{module}", stand_in)
        return main(command.split()), *capsys.readouterr()

    yield run
    log.handlers[:], log.level, log.propagate = before


@pytest.mark.parametrize(
    "name", ["loss=3.", "Val_mAP=1.0", "Val_mAP_50=1", "Val_localization=0.1", "a\n[Epoch 9], Val_classification=0.2"]
)
def test_no_metric_is_read_from_a_name_in_the_log(run_here, name):
    def work(log):
        log.info("training: 3 boxes (%s 3).", name)
        log.warning("%s", name)
        raise ValueError(f"class {name} is not known")

    code, output, errors = run_here("train", work)
    assert (code, errors, output.count("training: 3 boxes (")) == (1, "", 1)
    assert [found for metric in METRICS for found in re.findall(metric.regex, output)] == []


def test_metric_lines_are_bare_and_everything_worse_says_what_it_is(run_here, caplog):
    lines = [training_line(0, 1.5, 0.25), *validation_lines(0, {"mAP": 0.5})]

    def work(log):
        for line in lines:
            log.info(line)
        log.warning("odd")
        log.error("bad")

    assert run_here("train", work) == (0, "\n".join([*lines, "WARNING: odd", "ERROR: bad", ""]), "")
    assert caplog.messages == []  # TensorFlow's handler of the root logger would say everything twice


def test_a_job_with_a_script_of_its_own_is_run_in_script_mode(run_here, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(supervisor, "run_script", lambda job, program: ran.append((job.paths.root, program)))
    write_job(tmp_path, {"sagemaker_program": '"mine.py"'})
    assert run_here("train", lambda log: pytest.fail("trained")) == (0, "", "")
    assert ran == [(tmp_path, "mine.py")]


def test_hyperparameters_of_a_script_are_named_and_their_values_are_not_shown(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: 0)
    monkeypatch.setattr(supervisor, "TOOLKIT", "json")
    monkeypatch.setattr(supervisor, "supervise", lambda *_, **named: supervisor.Ended(1, ("Failed.",)))
    write_job(tmp_path, {"sagemaker_program": '"mine.py"', "password": "hunter2"})
    _, output, _ = run_here("train", lambda log: pytest.fail("trained"))
    assert output.startswith("Script mode: sagemaker-training runs mine.py. Its hyperparameters: password.\n")
    assert "hunter2" not in output + (tmp_path / "output/failure").read_text()


SCRIPT = """
import os, pathlib, signal, subprocess, sys
role, folder = sys.argv[1], pathlib.Path(sys.argv[2])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if role == "script":
    subprocess.Popen([sys.executable, "-S", "-c", sys.orig_argv[3], "child", str(folder)])
else:
    (folder / "ready").touch()
signal.sigwait([signal.SIGTERM])
os.write(2, f"{role} stops\\n".encode())
"""


class StopOnceReady:
    """A stop that comes when a file is there, and leaves so little time that nothing is waited for in vain."""

    def __init__(self, folder):
        self._folder, self._left = folder, 30.0

    @property
    def requested(self):
        return (self._folder / "ready").exists()

    @property
    def seconds_left(self):
        self._left -= 0.01
        return self._left


@pytest.fixture
def process_1():
    """Makes this process the parent of orphans, as process 1 of a container is. Here another one may take a second."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    yield
    ctypes.CDLL(None).prctl(set_child_subreaper, 0, 0, 0, 0)


def test_a_stop_reaches_a_script_and_what_it_has_started_once(process_1, tmp_path, monkeypatch):
    sent, killpg = [], os.killpg

    def note(group, number):
        sent.append(number)
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", note)
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.01)
    command = [sys.executable, "-S", "-c", SCRIPT, "script", str(tmp_path)]
    stop: Any = StopOnceReady(tmp_path)
    ended = supervisor.supervise(command, dict(os.environ), stop)
    assert (ended.status, sorted(ended.last_words)) == (0, ["child stops", "script stops"])
    assert sent.count(signal.SIGTERM) == 1


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("check", SimpleNamespace(as_text=lambda: "data", problems=())),
        ("describe", "data"),
        ("predict --model m a.jpg", ["data"]),
    ],
)
def test_a_verb_whose_output_is_data_logs_warnings_alone_and_to_stderr(run_here, command, found):
    def work(log):
        log.info("loading")
        log.warning("odd")
        return found

    assert run_here(command, work) == (0, "data\n", "WARNING: odd\n")


@pytest.mark.parametrize("command", WORK)
def test_only_a_job_leaves_a_failure_file(run_here, tmp_path, command):
    def work(log):
        raise UserError("no")

    code, *streams = run_here(command, work)
    assert (code, "".join(streams)) == (2, "ERROR: no\n")
    assert (tmp_path / "output/failure").exists() == (command == "train")


def test_describe_prints_the_tables():
    assert json.loads(run_verb("describe", "--format", "json").output) == describe_json()
    assert run_verb("describe").output.rstrip("\n") == describe_markdown().rstrip("\n")


@pytest.mark.slow
def test_sample_data_is_a_job_that_check_accepts(tmp_path):
    done = run_verb("sample-data", tmp_path / "input/data", "--images", 6, "--validation-images", 3, "--seed", 11)
    assert done.code == 0
    assert done.output == f"Wrote 6 training and 3 validation images to {tmp_path}/input/data.\n"
    write_job(tmp_path, {"pretrained_weights": "none"})
    assert run_verb("check", "--root", tmp_path).code == 0


def test_sample_data_never_overwrites(tmp_path):
    (tmp_path / "mine").write_text("precious")
    done = run_verb("sample-data", tmp_path)
    assert done.code == 2
    assert (
        done.output == f"ERROR: {tmp_path} exists and is not an empty folder. Name a new folder for the sample data.\n"
    )
    assert os.listdir(tmp_path) == ["mine"]


def test_the_root_may_come_from_the_environment(tmp_path):
    write_job(tmp_path, {"epochs": "none at all"})
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "channel 'training': missing" in (tmp_path / "output/failure").read_text()


@pytest.mark.slow
def test_predict_without_a_model_says_what_it_expected(tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
            "789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
        )
    )
    done = run_verb("predict", "--model", tmp_path, image)
    assert done.code == 2
    assert (
        f"{tmp_path}: holds no model_info.json; expected the model directory that a training job wrote" in done.errors
    )


def run_with(streams: str, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Runs a command whose streams a shell has closed or redirected, such as "1>&-"; other streams are told."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *command], capture_output=True, text=True, check=False
    )


LOGS_AND_SAVES = """
import logging, os
from pathlib import Path
log = logging.getLogger("sagemaker_object_detection")
def train(job):
    for number in range(40):
        log.info("line %d", number)
    (job.paths.root / "saved").write_text("model")
    print("what a library prints")
"""


@pytest.mark.parametrize("streams", ["1>&-", "1>/dev/full", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2>&-", "0<&-"])
def test_a_job_goes_on_whatever_becomes_of_its_log(root, streams):
    module = "sagemaker_object_detection.train"
    command = COMMAND.format(moment="", signals=[], module=module, source=LOGS_AND_SAVES)
    done = run_with(streams, [sys.executable, "-c", command, "train", "--root", str(root)])
    assert done.returncode == 0
    assert (root / "saved").read_text() == "model"
    assert not (root / "output/failure").exists()
    reason = {"1>&-": "Broken pipe", "1>/dev/full": "No space left on device"}.get(streams)
    said = f"WARNING: The log cannot be written ({reason}): the work goes on, and lines are lost.\n"
    assert done.stderr == (said if reason else "")


def test_a_job_goes_on_when_the_reader_of_its_log_has_left(root):
    module = "sagemaker_object_detection.train"
    command = COMMAND.format(moment="", signals=[], module=module, source=LOGS_AND_SAVES)
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-c", command, "train", "--root", str(root)],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, (root / "saved").read_text()) == (0, "model")
    assert done.stderr == "WARNING: The log cannot be written (Broken pipe): the work goes on, and lines are lost.\n"


def test_data_that_nobody_can_read_are_told_by_the_exit_code():
    done = run_with("1>&-", [sys.executable, "-m", "sagemaker_object_detection", "describe"])
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("root", ["missing/job", "a_file", "empty", "/proc/self/nothing", "/proc/self"])
def test_where_there_is_no_job_nothing_is_made(tmp_path, root):
    (tmp_path / "a_file").touch()
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = run_verb("train", "--root", tmp_path / root)
    assert done.code == 2
    assert re.fullmatch(
        rf"ERROR: {tmp_path / root}: "
        r"(cannot be opened \((No such file or directory|Not a directory)\)|holds no input/, .*); "
        r"expected the folder of a job: name it with --root or \$SAGEMAKER_BASE_DIR\n",
        done.output,
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_second_job_on_a_root_is_refused_and_leaves_the_first_alone(root):
    source = "import sys\ndef train(job):\n    print('begun', flush=True)\n    sys.stdin.read()\n    print('saved')\n"
    module = "sagemaker_object_detection.train"
    command = COMMAND.format(moment="", signals=[], module=module, source=source)
    with subprocess.Popen(
        [sys.executable, "-c", command, "train", "--root", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        second = run_stand_in("train", source, "--root", root)
        assert second.code == 2
        assert second.output.startswith(f"ERROR: {root}: another process runs a job there, and both would write")
        assert os.listdir(root) == ["input"]
        assert first.communicate("")[0] == "saved\n"
    assert first.returncode == 0
    assert run_stand_in("train", "def train(job):\n    print('saved')\n", "--root", root).output == "saved\n"


def test_a_closed_pipe_is_no_fault_of_ours():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_object_detection", "describe", "--format", "json"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_failure_of_an_earlier_run_does_not_outlive_the_next(tmp_path):
    write_job(tmp_path, {"epochs": "none at all"})
    assert run_verb("train", "--root", tmp_path).code == 2
    first = (tmp_path / "output/failure").read_text()
    write_job(tmp_path, {"seed": "minus one"})
    assert run_verb("train", "--root", tmp_path).code == 2
    assert "epochs" in first
    assert "epochs" not in (tmp_path / "output/failure").read_text()


@pytest.mark.parametrize("score", ["nan", "-0.1", "2", "high"])
def test_a_score_that_is_none_is_refused(score):
    run = run_verb("predict", "--model", "m", "--min-score", score, "a.jpg")
    assert run.code == 2
    assert f"argument --min-score: got '{score}'; expected a number from 0 to 1" in run.errors
