"""What a process that tries the GPUs finds out, and that the job does not depend on its end."""

import json
import signal
import sys
import time

import pytest
from conftest import requested_stop

from sagemaker_object_detection.devices import gpu_probe
from sagemaker_object_detection.devices.gpu_probe import Probe, probe_gpus, read_probe

# As TensorFlow 2.21.0 wrote them, with the locked CUDA libraries and a library that stands for the driver.
LOG = """
I0000 00:00:1795918965.024872   25123 dso_loader.cc:133] Successfully opened dynamic library libcuda.so.1
I0000 00:00:1795918965.024999   25123 dso_loader.cc:144] Could not load dynamic library 'libnvidia-ml.so.1'; dlerror: \
libnvidia-ml.so.1: cannot open shared object file: No such file or directory; LD_LIBRARY_PATH: /usr/local/cuda/compat
I0000 00:00:1795918965.332373   25123 dso_loader.cc:144] Could not load dynamic library 'libcusolver.so.11'; dlerror: \
libcusolver.so.11: cannot open shared object file: No such file or directory; LD_LIBRARY_PATH: /usr/local/cuda/compat
I0000 00:00:1795918965.349772   25123 dso_loader.cc:144] Could not load dynamic library 'libcusparse.so.12'; dlerror: \
libnvJitLink.so.12: cannot open shared object file: No such file or directory
I0000 00:00:1795918965.349790   25123 dso_loader.cc:144] Could not load dynamic library 'libcusparse.so.12'; dlerror: \
libnvJitLink.so.12: cannot open shared object file: No such file or directory
W0000 00:00:1795918965.349793   25123 gpu_device.cc:2365] Cannot dlopen some GPU libraries.
"""
MISSING = "cannot open shared object file: No such file or directory"


def printed(*results):
    return "".join(f"gpu-probe {json.dumps(result)}\n" for result in results)


def test_libraries_that_could_not_be_loaded_are_named_once_with_the_reason():
    assert read_probe("", LOG, 0) == Probe(
        not_loaded=(
            f"libnvidia-ml.so.1 (libnvidia-ml.so.1: {MISSING})",
            f"libcusolver.so.11 (libcusolver.so.11: {MISSING})",
            f"libcusparse.so.12 (libnvJitLink.so.12: {MISSING})",
        )
    )


def test_gpus_that_compute_are_no_failures():
    assert read_probe(printed(2, ["GPU:0", ""], ["GPU:1", ""]), "", 0) == Probe()


def test_a_gpu_that_fails_is_told_with_its_error():
    failure = "InternalError: no kernel image is available"
    output = "[something else]\n" + printed(2, ["GPU:0", ""], ["GPU:1", failure])
    assert read_probe(output, "", 0).failures == ("GPU:1 fails with InternalError: no kernel image is available",)


def test_a_gpu_that_ends_the_process_is_told_with_the_signal():
    assert read_probe(printed(2, ["GPU:0", ""]), "", -11).failures == (
        "a small operation on GPU:1 ends its process: Segmentation fault",
    )
    assert read_probe("", "", -64).failures != ()


def test_a_process_that_ends_badly_once_all_computed_says_nothing_against_them():
    assert read_probe(printed(1, ["GPU:0", ""]), "", -11) == Probe()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_somebody_ends_says_nothing_against_the_gpus(number):
    assert read_probe(printed(1), "", -number) == Probe()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A shell script in the place of Python."""

    def write(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return write


def test_a_process_that_cannot_try_says_nothing_against_the_gpus(program, caplog):
    program("echo Traceback >&2; echo 'ImportError: no module' >&2; exit 1")
    assert probe_gpus() == Probe()
    assert caplog.messages == ["A first small operation on the GPU could not be tried: ImportError: no module"]


def test_a_process_that_does_not_end_is_not_waited_for(program, monkeypatch, caplog):
    monkeypatch.setattr(gpu_probe, "PATIENCE_SECONDS", 0.1)
    program("exec sleep 60")
    before = time.monotonic()
    assert probe_gpus() == Probe()
    assert time.monotonic() - before < 10
    assert caplog.messages == ["A first small operation on the GPU has not ended within 0 seconds."]


def test_a_stop_is_not_kept_waiting(program, caplog):
    program("exec sleep 60")
    before = time.monotonic()
    assert probe_gpus(stop=requested_stop()) == Probe()
    assert time.monotonic() - before < 10
    assert caplog.messages == []


@pytest.mark.slow
def test_the_process_finds_nothing_on_a_machine_without_a_gpu(caplog):
    assert probe_gpus() == Probe()
    assert caplog.messages == []


def test_what_it_computes_needs_no_gpu():
    gpu_probe._compute()
