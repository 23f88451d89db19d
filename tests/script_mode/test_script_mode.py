"""Script mode: what supervises a script, and whole jobs where sagemaker-training is installed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import run_verb, write_job
from script_jobs import JOBS, SAVE_ARGUMENTS, STOPPED_JOBS, ScriptJob

from sagemaker_object_detection.check import check
from sagemaker_object_detection.errors import AlgorithmError, PlatformError, ScriptError, UserError
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.failure import MAX_CHARACTERS, exit_code, failure_text, write_failure
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.script_mode import supervisor
from sagemaker_object_detection.script_mode.launch import _require
from sagemaker_object_detection.script_mode.supervisor import Ended, _judge, run_script, supervise

needs_toolkit = pytest.mark.skipif(
    importlib.util.find_spec("sagemaker_training") is None,
    reason="needs sagemaker-training, which only the image has: tests/docker runs JOBS and STOPPED_JOBS there; for the "
    "other tests, install it into .venv by hand, which takes gcc",
)
NOT_STOPPED: Any = SimpleNamespace(requested=False, seconds_left=float("inf"))
STARTED = '{"started": true}\n'


def supervised(source, stop=NOT_STOPPED):
    return supervise([sys.executable, "-c", source], dict(os.environ), stop)


def judged(status, *lines):
    with pytest.raises(ScriptError) as caught:
        _judge("train.py", Ended(status, lines), STARTED, NOT_STOPPED)
    return caught.value


# Which jobs these are


@pytest.mark.parametrize(
    ("value", "program"),
    [('"train.py"', "train.py"), ("train.py", "train.py"), (None, None), ("null", None), ('""', None), ("", None)],
)
def test_the_script_a_job_asks_for(tmp_path, value, program):
    write_job(tmp_path, {"epochs": "many", "sagemaker_program": value})
    assert read_job(Paths(tmp_path)).script == program


def test_a_job_without_a_script_asks_for_none(tmp_path):
    assert read_job(Paths(tmp_path)).script is None
    write_job(tmp_path, {"epochs": "1"})
    assert read_job(Paths(tmp_path)).script is None


def test_check_says_that_nothing_was_checked(tmp_path):
    write_job(tmp_path, {"sagemaker_program": '"train.py"', "epochs": "many"})
    note = "sagemaker_program: got 'train.py': script mode; neither the script nor what it is given was checked"
    result = check(Paths(tmp_path))
    assert (result.hyperparameters, result.notes, result.problems) == ({}, (note,), ())
    done = run_verb("check", "--root", tmp_path)
    assert (done.code, done.output) == (0, f"note: {note}\n0 problems.\n")


def test_where_the_toolkit_is_not_installed_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "TOOLKIT", "no_such_toolkit")
    with pytest.raises(UserError) as caught:
        run_script(read_job(Paths(tmp_path)), "train.py")
    assert str(caught.value) == (
        "sagemaker_program: got 'train.py', a script of the job's own; sagemaker-training, which runs it, is not "
        "installed here: use the container image or install sagemaker-training==5.1.4, or remove entry_point and "
        "source_dir from the estimator"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_toolkit_is_imported_in_no_other_process():
    modules = "sagemaker_object_detection.__main__", "sagemaker_object_detection.script_mode.supervisor"
    source = f"import sys, {', '.join(modules)}\nprint([m for m in sys.modules if m.startswith('sagemaker_training')])"
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout == "[]\n"


# Supervising a process


def test_output_is_passed_on_and_stderr_is_kept(capfd):
    ended = supervised("import sys; print('out'); sys.stderr.write('one\\n\\ntwo'); sys.exit(9)")
    assert ended == Ended(9, ("one", "two"))
    assert capfd.readouterr() == ("out\n", "one\n\ntwo")


def test_a_signal_is_told_from_an_exit_code():
    assert supervised("import os; os.kill(os.getpid(), 11)").status == -11


def test_only_the_end_of_stderr_is_kept_and_all_of_it_is_passed_on(capfd):
    ended = supervised("import sys; sys.stderr.write(''.join(f'line {n}\\n' for n in range(30000)))")
    assert ended.last_words[-1] == "line 29999"
    assert sum(len(line) + 1 for line in ended.last_words) <= 64 * 1024
    assert len(capfd.readouterr().err.splitlines()) == 30000


def test_what_only_a_terminal_shows_is_left_out():
    ended = supervised("import sys; sys.stderr.buffer.write(b'\\x1b[31mred\\x1b[0m\\r 5%\\r10%\\n\\xff\\x07bell\\n')")
    assert ended.last_words == ("red", " 5%", "10%", "\N{REPLACEMENT CHARACTER}bell")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nobody_reads_the_log_any_more(stream):
    source = (
        f"import sys; from test_script_mode import supervised; script = 'import sys; print(1, file=sys.{stream}); "
        f"sys.{stream}.flush(); print(2, file=sys.{stream})'; sys.exit(7 + supervised(script).status)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: write_end}
    done = subprocess.run([sys.executable, "-c", source], env=environment, check=False, **streams)
    os.close(write_end)
    assert done.returncode == 7


def test_a_process_that_is_left_behind_is_not_waited_for():
    before = time.monotonic()
    ended = supervised("import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'])")
    assert ended.status == 0
    assert time.monotonic() - before < 7


def test_a_script_without_an_input_reads_its_end():
    assert supervised("import sys; sys.exit(len(sys.stdin.read()))").status == 0


# Judging how it ended


def test_the_last_line_is_the_cause():
    error = judged(3, "warming up", "no such bucket")
    assert (error.exit_code, exit_code(error)) == (3, 3)
    assert failure_text(error) == "no such bucket\nThe script train.py ended with exit code 3.\nwarming up"
    assert str(error) == "The script train.py ended with exit code 3."


TRACEBACK = ("Traceback (most recent call last):", '  File "train.py", line 1, in <module>', "    fail()")


def test_the_exception_of_the_last_traceback_is_the_cause():
    during = "During handling of the above exception, another exception occurred:"
    error = judged(1, *TRACEBACK, "KeyError: 'a'", during, *TRACEBACK, "ValueError: first", "second")
    assert failure_text(error).splitlines() == [
        "ValueError: first",
        "second",
        "The script train.py ended with exit code 1.",
        TRACEBACK[2],
        "KeyError: 'a'",
        during,
        *TRACEBACK,
    ]


def test_a_traceback_that_was_only_logged_is_not():
    error = judged(3, *TRACEBACK, "KeyError: 'a'", "giving up")
    assert failure_text(error).startswith("giving up\nThe script train.py ended with exit code 3.")


def test_a_traceback_that_was_cut_ends_in_the_last_line():
    assert failure_text(judged(1, *TRACEBACK)).startswith("    fail()\nThe script")


def test_a_crash_has_the_last_line_as_its_cause():
    error = judged(-signal.SIGABRT, "terminate called")
    assert error.exit_code == 134
    assert failure_text(error) == "terminate called\nThe script train.py was ended by SIGABRT (signal 6)."


def test_a_signal_without_a_name():
    assert str(judged(-35)) == "The script train.py was ended by signal 35; it wrote nothing to stderr."


API = (
    "this image has no object_detection, and needs none, because it trains the detectors of the built-in algorithm "
    "itself. Remove entry_point and source_dir from the estimator, and keep its hyperparameters and channels."
)


@pytest.mark.parametrize(
    ("program", "words", "advice"),
    [
        ("train.py", "ModuleNotFoundError: No module named 'object_detection'", API),
        ("train.py", "ModuleNotFoundError: No module named 'object_detection.utils'", API),
        (
            "transfer_learning.py",
            "ModuleNotFoundError: No module named 'lvis'",
            API.replace("object_detection", "lvis"),
        ),
        (
            "train.py",
            "ModuleNotFoundError: No module named 'torch'",
            "name the package of torch in a requirements.txt of source_dir, or bring it in source_dir.",
        ),
    ],
)
def test_a_script_that_dies_of_a_missing_module_is_told_the_way_out(program, words, advice):
    with pytest.raises(ScriptError) as caught:
        _judge(program, Ended(1, (*TRACEBACK, words)), STARTED, NOT_STOPPED)
    assert str(caught.value) == f"The script {program} ended with exit code 1: {advice}"
    assert failure_text(caught.value).splitlines()[0] == words


def test_long_words_are_cut():
    error = judged(1, *["y" * 3000] * 20, *TRACEBACK, "ValueError: " + "x" * 3000, *["z" * 3000] * 20)
    text = failure_text(error)
    assert text.startswith("ValueError: xxx")
    assert len(text) <= MAX_CHARACTERS


def test_the_failure_file_of_the_script_is_kept(tmp_path):
    paths = Paths(tmp_path)
    paths.failure.parent.mkdir()
    paths.failure.write_text("mine")
    write_failure(paths.failure, judged(1, "last word"))
    assert paths.failure.read_text() == "mine"


def test_a_script_that_ended_well_is_no_error():
    _judge("train.py", Ended(0, ("a warning",)), STARTED, NOT_STOPPED)


@pytest.mark.parametrize(
    ("report", "lines", "kind", "sentence"),
    [
        ({"blame": 2, "problem": "no code"}, ("noise",), UserError, "no code"),
        ({"blame": 3, "problem": "no network"}, (), PlatformError, "no network"),
        ({"blame": 1, "problem": "a fault"}, (), AlgorithmError, "a fault"),
        ({"blame": 2, "problem": "pip", "advice_after_stderr": "; mend it"}, (), UserError, "pip; mend it"),
        (
            {"blame": 2, "problem": "pip", "advice_after_stderr": "; mend it"},
            ("ERROR: no x", "WARNING: old pip"),
            UserError,
            "pip: no x; mend it",
        ),
        ({"blame": 2, "problem": "pip", "advice_after_stderr": ""}, ("a", "b"), UserError, "pip: b"),
    ],
)
def test_what_the_launch_reports_is_the_error(report, lines, kind, sentence):
    with pytest.raises(kind) as caught:
        _judge("train.py", Ended(1, lines), STARTED + json.dumps(report) + "\n", NOT_STOPPED)
    assert str(caught.value) == sentence


def test_a_stop_before_the_script_began_is_no_error(caplog):
    stopped: Any = SimpleNamespace(requested=True)
    _judge("train.py", Ended(-15, ()), "", stopped)
    assert caplog.messages == ["Stopped by a signal before the script train.py began."]


def test_a_toolkit_that_crashes_is_not_the_scripts_fault():
    with pytest.raises(AlgorithmError) as caught:
        _judge("train.py", Ended(-11, ()), "", NOT_STOPPED)
    assert str(caught.value) == "sagemaker-training: was ended by SIGSEGV (signal 11) before the script train.py began"


# Before the script begins


def test_a_script_that_is_not_where_nothing_is(tmp_path):
    paths = Paths(tmp_path)
    paths.code.mkdir()
    sentence = (
        f"sagemaker_program: got 'train.py'; there is no such file in {paths.code}, which {{}}: entry_point is the "
        "path of the script inside of source_dir"
    )
    with pytest.raises(UserError) as caught:
        _require(paths, "train.py")
    assert str(caught.value) == sentence.format("is empty")
    (paths.code / "other.py").touch()
    with pytest.raises(UserError) as caught:
        _require(paths, "train.py")
    assert str(caught.value) == sentence.format("holds other.py")


WAITS_FOR_A_HOST = """
from sagemaker_object_detection.job import hosts
from sagemaker_object_detection.script_mode import launch
def prepare(paths):
    missing = ["algo-2"]
    def reach(host):
        if missing:
            missing.clear()
            raise OSError(111, "Connection refused")
    hosts.time.sleep = lambda seconds: None
    hosts.await_hosts(["algo-2"], reach)
    raise launch.UserError("enough")
launch.prepare = prepare
launch.main(1)
"""


def test_it_is_said_for_which_host_a_script_waits():
    done = subprocess.run([sys.executable, "-c", WAITS_FOR_A_HOST], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "Waiting for host algo-2.")


# Whole jobs


def started(root, **environment):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "sagemaker_object_detection", "train", "--root", str(root)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_file(path, process):
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


@needs_toolkit
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_in_script_mode(job, tmp_path):
    job.write(tmp_path)
    done = run_verb("train", "--root", tmp_path)
    job.check(tmp_path, str(tmp_path), done.code)


@needs_toolkit
@pytest.mark.parametrize("job", STOPPED_JOBS, ids=lambda job: job.name)
def test_a_job_in_script_mode_that_is_stopped(job, tmp_path):
    job.write(tmp_path)
    folder = os.path.dirname(sys.executable)  # `python` of a shell script is this one
    with started(tmp_path, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}") as process:
        await_file(tmp_path / "output/data/ready", process)
        process.send_signal(signal.SIGTERM)
        # Checked at once: in a container everything else ends with this process.
        job.check(tmp_path, str(tmp_path), process.wait(timeout=60))


@needs_toolkit
def test_a_stop_ends_the_installation(tmp_path):
    setup = "import os, time\nopen(os.environ['READY'], 'w').close()\ntime.sleep(600)\n"
    ScriptJob("slow", files={"train.py": "", "requirements.txt": "./slow\n", "slow/setup.py": setup}).write(tmp_path)
    with started(tmp_path, READY=str(tmp_path / "ready"), PIP_NO_BUILD_ISOLATION="0") as process:
        await_file(tmp_path / "ready", process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.endswith("WARNING: Stopped by a signal before the script train.py began.\n")
    assert not (tmp_path / "output/failure").exists()


@needs_toolkit
def test_hyperparameters_are_never_printed(tmp_path):
    ScriptJob("", files={"train.py": "import sys; sys.exit(3)"}, hyperparameters={"password": "hunter2"}).write(
        tmp_path
    )
    done = run_verb("train", "--root", tmp_path)
    assert done.output.splitlines() == [
        "Script mode: sagemaker-training runs train.py. Its hyperparameters: password.",
        f"{tmp_path}/code is not empty: the script is taken from there, and nothing is fetched.",
        "ERROR: The script train.py ended with exit code 3; it wrote nothing to stderr.",
    ]
    assert "hunter2" not in done.errors + (tmp_path / "output/failure").read_text()


def archive_of(folder, text):
    script, archive = folder / "train.py", folder / "sourcedir.tar.gz"
    script.write_text(text)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(script, "train.py")
    return archive


@needs_toolkit
@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_the_code_comes_from_an_archive_or_a_folder(tmp_path, form):
    source = tmp_path / "a source"
    source.mkdir()
    archive = archive_of(source, "import sys\nsys.exit(11)\n")
    for number, place in enumerate((archive, source)):
        root = tmp_path / str(number)
        where = form.format(str(place).replace(" ", "%20") if "file" in form else place)
        ScriptJob("", hyperparameters={"sagemaker_submit_directory": f'"{where}"'}).write(root)
        assert run_verb("train", "--root", root).code == 11


@needs_toolkit
def test_an_archive_that_is_none(tmp_path):
    (tmp_path / "broken").write_bytes(b"\x1f\x8b" + b"x" * 100)
    ScriptJob("", hyperparameters={"sagemaker_submit_directory": f'"{tmp_path}/broken"'}).write(tmp_path / "job")
    done = run_verb("train", "--root", tmp_path / "job")
    assert done.code == 2
    assert "sagemaker_program: got 'train.py'; there is no such file in" in done.output


@needs_toolkit
def test_the_code_comes_from_s3(tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.moto_server.threaded_moto_server").ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "no_proxy": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="code")
        s3.upload_file(
            str(archive_of(tmp_path, SAVE_ARGUMENTS.replace("\n    ", "\n"))), "code", "job/sourcedir.tar.gz"
        )
        address = "s3://code/job/sourcedir.tar.gz"
        values = {"sagemaker_submit_directory": f'"{address}"', "sagemaker_region": '"us-east-1"', "epochs": "2"}
        ScriptJob("", hyperparameters=values, leaves={"model/arguments": '["--epochs", "2"]'}).write(tmp_path / "good")
        assert run_verb("train", "--root", tmp_path / "good").code == 0
        assert (tmp_path / "good/model/arguments").read_text() == '["--epochs", "2"]'

        values["sagemaker_submit_directory"] = '"s3://code/job/other.tar.gz"'
        ScriptJob("", hyperparameters=values).write(tmp_path / "bad")
        assert run_verb("train", "--root", tmp_path / "bad").code == 2
        assert (
            (tmp_path / "bad/output/failure")
            .read_text()
            .startswith(
                "UserError: sagemaker_submit_directory: s3://code/job/other.tar.gz cannot be fetched (An error "
            )
        )
    finally:
        server.stop()


@needs_toolkit
def test_files_of_the_job_that_cannot_be_read(tmp_path):
    ScriptJob("", files={"train.py": ""}).write(tmp_path)
    (tmp_path / "input/config/resourceconfig.json").write_text("{}")
    done = run_verb("train", "--root", tmp_path)
    assert done.code == 2
    assert (
        f"{tmp_path}/input/config: sagemaker-training cannot read the job's files (KeyError: 'hosts'); expected them "
        "as SageMaker writes them" in done.output
    )


@needs_toolkit
def test_channels_of_a_run_by_hand_are_its_folders(tmp_path):
    source = """
        import os
        with open(os.environ["SM_MODEL_DIR"] + "/seen", "w") as file:
            file.write(os.environ["SM_CHANNELS"] + os.environ["SM_CHANNEL_TRAINING"])
    """
    ScriptJob("", files={"train.py": source}).write(tmp_path)
    (tmp_path / "input/data/training").mkdir(parents=True)
    assert run_verb("train", "--root", tmp_path).code == 0
    assert (tmp_path / "model/seen").read_text() == f'["training"]{tmp_path}/input/data/training'


@needs_toolkit
def test_a_folder_for_the_code_that_cannot_be_made(tmp_path):
    ScriptJob("").write(tmp_path)
    (tmp_path / "code").rmdir()
    (tmp_path / "code").touch()
    done = run_verb("train", "--root", tmp_path)
    assert done.code == 2
    assert f"ERROR: {tmp_path}/code: cannot be created (File exists); expected a folder" in done.output
