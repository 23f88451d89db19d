"""Script mode: a job that brings a script of its own is handed to sagemaker-training, in this image.

The toolkit works in a process of its own, `launch.py`, which becomes the script when everything is prepared.
This process stays behind as its supervisor, and makes right what the toolkit's own runner does wrong: SIGTERM reaches
the script and all it has started (sagemaker-training-toolkit#125, #173), the exit code is the script's, the failure
file begins with the script's last words, and no hyperparameter's value is printed.
"""

import contextlib
import importlib.util
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sagemaker_object_detection.errors import AlgorithmError, JobError, PlatformError, ScriptError, UserError
from sagemaker_object_detection.job.config import SCRIPT, Job
from sagemaker_object_detection.job.paths import ROOT_VARIABLE, prepare_outputs
from sagemaker_object_detection.job.stop import StopSignal

log = logging.getLogger(__name__)

TOOLKIT = "sagemaker_training"
_STDOUT, _STDERR = 1, 2
_POLL_SECONDS = 0.2
_KEPT_BYTES = 64 * 1024
_LINES_BEFORE_CAUSE = 6
_LEFT_FOR_FAILURE_FILE = 10.0
"""Seconds of the grace period that are not spent on waiting for what a stopped script has left behind."""
_TRACEBACK = "Traceback (most recent call last):"
_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_OBJECT_DETECTION_API = frozenset({"object_detection", "tf_slim", "lvis"})
"""TensorFlow's Object Detection API, and what nothing else asks for."""
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ADVICE: dict[int, str] = {
    signal.SIGKILL: ", as a machine does when its memory is full: choose an instance type with more",
    signal.SIGTERM: ", which it does not handle: a job that is stopped has 120 seconds from then on to save its work",
}


def run_script(job: Job, program: str) -> None:
    """Run `program`, the script that the job names, to its end.

    Raises:
        ScriptError: it ended with another exit code than 0.
        UserError: its code is missing, cannot be fetched or installed, or sagemaker-training is not installed.
        PlatformError: the network or the machine is at fault.
    """
    if importlib.util.find_spec(TOOLKIT) is None:
        raise UserError(
            f"{SCRIPT}: got {program!r}, a script of the job's own; sagemaker-training, which runs it, is not "
            "installed here: use the container image or install sagemaker-training==5.1.4, or remove entry_point and "
            "source_dir from the estimator"
        )
    paths = job.paths
    with StopSignal() as stop:
        prepare_outputs(paths)
        try:  # the toolkit makes it when it is imported, and ends with a traceback where it cannot
            paths.code.mkdir(parents=True, exist_ok=True)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"{paths.code}: cannot be created ({error.strerror}); expected a folder for the job's own script, "
                "which this process may write to"
            ) from None
        names = ", ".join(job.hyperparameters) or "none"
        log.info("Script mode: sagemaker-training runs %s. Its hyperparameters: %s.", program, names)
        reports, report = os.pipe()
        with open(reports, "rb") as received:
            try:
                ended = supervise(
                    [sys.executable, "-P", "-m", "sagemaker_object_detection.script_mode.launch", str(report)],
                    {**os.environ, ROOT_VARIABLE: str(paths.root), SCRIPT.upper(): program, "PYTHONUNBUFFERED": "1"},
                    stop,
                    pass_fds=(report,),
                )
            finally:
                os.close(report)
            message = received.read().decode()
        _judge(program, ended, message, stop)


@dataclass(frozen=True)
class Ended:
    """A process that is over: its exit code, or minus the signal that ended it, and the last lines of its stderr."""

    status: int
    last_words: tuple[str, ...]


def supervise(
    command: Sequence[str], environment: Mapping[str, str], stop: StopSignal, *, pass_fds: Sequence[int] = ()
) -> Ended:
    """Run a command to its end, in a process group of its own, to which a stop is passed on as SIGTERM.

    What it writes is passed on as it comes; that nobody reads it any more does not end it. When it was stopped, the
    group's other processes are waited for as well: a shell dies of SIGTERM at once while the program it had started may
    be saving its work.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,  # a group in the background that read from a terminal would be suspended
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    kept = bytearray()
    forwarded = False
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, _STDOUT)
        selector.register(process.stderr, selectors.EVENT_READ, _STDERR)
        while True:
            if stop.requested and not forwarded:
                forwarded = True
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGTERM)
            # Asked before the pipes are read: what a process wrote before it ended is in them by then.
            over = process.poll() is not None
            waiting = over and forwarded and stop.seconds_left > _LEFT_FOR_FAILURE_FILE and _has_members(process.pid)
            arrived = selector.select(0 if over and not waiting else _POLL_SECONDS)
            for pipe, _ in arrived:
                chunk = os.read(pipe.fd, _KEPT_BYTES)
                if pipe.data == _STDERR:
                    kept += chunk
                    del kept[:-_KEPT_BYTES]
                if not chunk:
                    selector.unregister(pipe.fileobj)
                with contextlib.suppress(OSError):
                    while chunk:
                        chunk = chunk[os.write(pipe.data, chunk) :]
            if not arrived and over and not waiting:
                return Ended(process.returncode, _lines(bytes(kept)))


def _has_members(group: int) -> bool:
    """Whether a process of the group is left, after those that were left to this one (process 1) are reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _lines(stderr: bytes) -> tuple[str, ...]:
    """The lines that say something, without what only a terminal shows."""
    lines = (_TERMINAL_CODES.sub("", line).rstrip() for line in stderr.decode(errors="replace").splitlines())
    printable = ("".join(c for c in line.expandtabs(4) if c.isprintable()) for line in lines)
    return tuple(line for line in printable if line)


def _judge(program: str, ended: Ended, message: str, stop: StopSignal) -> None:
    """Nothing where all went well, else the error of the launch, or of the script."""
    # A line for every step of the launch that ends it: "started", and the error of an exec that failed even so.
    report = json.loads(message.splitlines()[-1]) if message else {}
    if "problem" in report:
        problem = report["problem"]
        if (advice := report.get("advice_after_stderr")) is not None:
            if lines := ended.last_words:  # pip's
                errors = [line for line in lines if line.startswith("ERROR: ")]
                problem += f": {errors[-1].removeprefix('ERROR: ') if errors else lines[-1]}"
            problem += advice
        kinds: tuple[type[JobError], ...] = (AlgorithmError, UserError, PlatformError)
        raise next(kind for kind in kinds if kind.exit_code == report["blame"])(problem)
    if not report:
        if stop.requested:
            log.warning("Stopped by a signal before the script %s began.", program)
            return
        raise AlgorithmError(f"sagemaker-training: {_how_it_ended(ended.status)} before the script {program} began")
    if ended.status != 0:
        raise _script_error(program, ended)


def _script_error(program: str, ended: Ended) -> ScriptError:
    status, lines = ended.status, ended.last_words
    sentence = f"The script {program} {_how_it_ended(status)}"
    if -status in _ADVICE:
        sentence += _ADVICE[-status]
    elif not lines:
        sentence += "; it wrote nothing to stderr"
    exit_code = status if status > 0 else 128 - status  # as a shell and docker report signals
    first = len(lines) if -status in _ADVICE else _cause(status, lines)  # nothing it wrote explains such a signal
    if missing := _MISSING_MODULE.match("".join(lines[first:][:1])):
        sentence += _advice_on_module(missing.group(1))
    trace = lines[max(0, first - _LINES_BEFORE_CAUSE) : first]
    return ScriptError(f"{sentence}.", exit_code, cause=lines[first:], trace=trace)


def _advice_on_module(name: str) -> str:
    if name in _OBJECT_DETECTION_API:
        return (
            f": this image has no {name}, and needs none, because it trains the detectors of the built-in algorithm "
            "itself. Remove entry_point and source_dir from the estimator, and keep its hyperparameters and channels"
        )
    return f": name the package of {name} in a requirements.txt of source_dir, or bring it in source_dir"


def _cause(status: int, lines: Sequence[str]) -> int:
    """Which line is the cause: the exception that ended a Python script, else the last line."""
    if status == 1 and _TRACEBACK in lines:
        start = len(lines) - list(reversed(lines)).index(_TRACEBACK)
        # Between its first line and the exception, whose text may go on for lines, a traceback is indented.
        return next((number for number in range(start, len(lines)) if lines[number][0] != " "), len(lines) - 1)
    return len(lines) - 1


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was ended by {signal.Signals(-status).name} (signal {-status})"
    except ValueError:  # the real-time signals have no names
        return f"was ended by signal {-status}"
