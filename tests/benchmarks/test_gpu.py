"""The script for the first person who has a GPU, tried without one."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import gpu
import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

SCRIPT = Path(gpu.__file__)
TINY = ["--models", gpu.MODELS[0], "--image-size", "128", "--batch-sizes", "2", "--formats", "float32", "--xla", "off"]


def planned(*arguments: str) -> list[str]:
    return [gpu.name_of(spec) for spec in gpu.plan(gpu._options(arguments), "folder")]


pytestmark = pytest.mark.slow


def test_most_telling_measurements_come_first():
    mobilenet, resnet, efficientdet = gpu.MODELS
    assert planned()[:11] == [
        f"steps, {mobilenet}, batch 8, float32, XLA off and on",
        *(
            f"losses, {name}, {mobilenet}, batch 8, float32, XLA off"
            for name in ("CPU", "GPU", "GPU without TF32", "CPU without oneDNN")
        ),
        f"memory, {mobilenet}, batch 64, float32, XLA off",
        f"export, {mobilenet}, float32",
        f"serving, {mobilenet}, float32",
        f"steps, {resnet}, batch 8, float32, XLA off and on",
        f"steps, {efficientdet}, batch 8, float32, XLA off and on",
        f"steps, {mobilenet}, batch 8, mixed, XLA off and on",
    ]
    assert len(set(planned())) == 3 * 2 * 2 + 5 + 2 + 2


def test_sections_are_chosen():
    assert planned("--sections", "serving", *TINY) == [
        f"{what}, {gpu.MODELS[0]}, float32" for what in ("export", "serving")
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "yolo"], "--models: yolo: unknown; weights/README.md lists the base models"),
        (["--image-size", "100"], "--image-size: got 100; expected a multiple of 128"),
        (["--minutes", "0"], "--batch-sizes, --answers, --minutes and --seconds: expected numbers above 0"),
    ],
)
def test_wrong_arguments_end_with_a_sentence(capsys, arguments, sentence):
    with pytest.raises(SystemExit) as ended:
        gpu.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_memory_limit_is_that_of_a_quarter_of_the_batch():
    spec = {"what": "memory", "model": "m", "format": "float32", "batch_size": 64}
    steps = {**spec, "what": "steps", "batch_size": 8}
    measured = [gpu.Measured({**steps, "model": "n"}, {"off": {"peak": 2**20}})]
    assert gpu.limit_for(spec, measured) == gpu.DEFAULT_LIMIT
    measured.append(gpu.Measured(steps, {"off": {"peak": 500 * 2**20}}))
    assert gpu.limit_for(spec, measured) == 1000


def gpu_trace() -> xplane_pb2.XSpace:
    """As TensorFlow's CUPTI tracer writes it: details are references to names of the plane's statistics."""
    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/device:GPU:0")
    names = ["kernel_details", "memcpy_details", "regs:32 grid:1,1,1"]
    names += [f"kind_src:pageable kind_dst:device size:{size} dest:0 async:1" for size in (4000, 1000)]
    for number, name in enumerate(names, 1):
        plane.stat_metadata[number].name = name
    for number, name in enumerate(["gemm", "MemcpyH2D", "MemcpyD2H", "MemcpyD2D"], 1):
        plane.event_metadata[number].name = name
    stream = plane.lines.add(name="Stream #14")
    for event, details, value in [(1, 1, 3), (1, 1, 3), (2, 2, 4), (2, 2, 5), (3, 2, 5), (4, 2, 4)]:
        stream.events.add(metadata_id=event).stats.add(metadata_id=details, ref_value=value)
    host = space.planes.add(name="/host:CPU")
    host.event_metadata[1].name = "cuLaunchKernel"
    host.event_metadata[2].name = "cuGraphLaunch"
    host.event_metadata[3].name = "MemcpyH2D"
    thread = host.lines.add()
    for event in (1, 1, 2, 3):
        thread.events.add(metadata_id=event)
    return space


def test_trace_of_a_gpu():
    assert gpu.read_trace(gpu_trace(), 2) == gpu.Trace(
        gpus=1, kernels=1.0, launches=1.5, to_gpu=gpu.Copies(1.0, 2500.0, 4000), to_host=gpu.Copies(0.5, 500.0, 1000)
    )


def test_trace_of_a_cpu(tmp_path):
    tf.profiler.experimental.start(str(tmp_path))
    tf.reduce_sum(tf.ones([8, 8])).numpy()
    tf.profiler.experimental.stop()
    space = xplane_pb2.XSpace.FromString(next(tmp_path.rglob("*.xplane.pb")).read_bytes())
    assert any(line.events for plane in space.planes for line in plane.lines)
    assert gpu.read_trace(space, 1) == gpu.Trace(0, 0.0, 0.0, gpu.Copies(), gpu.Copies())


def test_report_has_ratios_notes_and_what_is_missing():
    figures = {"first": 20.0, "each": 0.2, "peak": 2**30, "raised": [], "micro_batch": None, "finite": True}
    spec = {"what": "steps", "model": "m", "batch_size": 8, "format": "mixed", "xla": ["off", "on"]}
    measured = [
        gpu.Measured(
            spec,
            {
                "policy": "mixed_float16",
                "off": figures,
                "on": {**figures, "micro_batch": 4, "raised": ["InternalError: a|b"]},
                "rounds": {"off": [0.2, 0.4, 0.3], "on": [0.1, 0.1, 0.1]},
                "off trace": asdict(gpu.read_trace(gpu_trace(), 2)),
            },
        ),
        gpu.Measured({**spec, "batch_size": 64}, ended="left out: the 10 minutes were over"),
    ]
    text = gpu.report(measured)
    assert "| m | 8 | mixed_float16 | off | 300.0 | 26.7 | 20.0 | 1.00 |  |  |\n" in text
    assert "| on | 100.0 | 80.0 | 20.0 | 1.00 | 3.00 (2.00 to 4.00) | InternalError: a/b; 4 at a time |\n" in text
    assert "| m | 8 | mixed_float16 | off | 1.0 | 2.5 | 0.5 | 0.5 | 1.0 | 1.0 | 1.5 |" in text
    assert "- steps, m, batch 64, mixed, XLA off and on: left out: the 10 minutes were over" in text


def test_process_that_crashes_keeps_what_it_printed(tmp_path, monkeypatch):
    script = tmp_path / "gpu.py"
    script.write_text('import os; print(\'{"policy": "float32"}\', flush=True); os.abort()')
    monkeypatch.setattr(gpu, "__file__", str(script))
    measured = gpu._process({"what": "steps", "device": "cpu"}, 60.0)
    assert measured.figures == {"policy": "float32"}
    assert measured.ended.startswith("ended with SIGABRT")


def test_process_is_ended_when_its_time_is_over(tmp_path, monkeypatch):
    script = tmp_path / "gpu.py"
    script.write_text('import time; print(\'{"policy": "float32"}\', flush=True); time.sleep(600)')
    monkeypatch.setattr(gpu, "__file__", str(script))
    measured = gpu._process({"what": "steps", "device": "cpu"}, 2.0)
    assert measured.figures == {"policy": "float32"}
    assert measured.ended == "was ended after 2 s, its share of the time"


def test_without_a_gpu_it_says_so():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("gpu.py: no GPU to measure on: ")


@pytest.mark.nightly
def test_it_runs_on_a_cpu(tmp_path):
    found = tmp_path / "found.json"
    options = ["--device", "cpu", *TINY, "--answers", "1", "2", "--seconds", "0.2", "--minutes", "30", "--json", found]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True)
    measured = {each["spec"]["what"]: each for each in json.loads(found.read_text())}
    assert [name for name, each in measured.items() if each["ended"]] == []
    assert measured["memory"]["figures"]["micro_batch"] == 1
    assert "| finished with 1 at a time |" in done.stdout
    losses = [each["figures"]["losses"] for each in json.loads(found.read_text()) if each["spec"]["what"] == "losses"]
    assert gpu.relative_difference(*losses) < 1e-2  # 9e-5 was seen: rounding that 20 steps magnify
    assert sorted(measured["serving"]["figures"]["later"]) == ["1", "2"]
