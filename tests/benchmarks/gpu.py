"""What nobody has measured yet: this package on a GPU. Ten minutes, inside the image, in one command:

    docker run --rm --network none --gpus all -v "$PWD/tests:/tests:ro" sagemaker-object-detection:gpu \\
        python /tests/benchmarks/gpu.py

It prints the machine; step times, images a second and memory with XLA off and on; copies and kernels of a step, from
the profiler; whether a step that runs out of memory is repeated in parts; latencies of an exported model by batch size;
and the losses of 20 steps beside the CPU's. One GPU is used, the first.

Every measurement is a process of its own, so that one that crashes or runs out of memory ends alone. The most telling
come first. What does not fit into `--minutes` is left out and named; no process gets more than a third of them. XLA off
and on share a process, in which they take rounds in turn; their ratio is formed round by round.

The file is long because it stands alone: an image holds the package and no tests. An image with cuda-compat needs
`-e LD_LIBRARY_PATH=/usr/local/cuda/compat` where a job would use it. Without a GPU the script itself is tried with
`--device cpu --models ssd_mobilenet_v2_fpnlite_320x320 --image-size 128 --batch-sizes 2 --formats float32 --xla off`.
"""

import argparse
import importlib.metadata
import itertools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from sagemaker_object_detection import __version__, catalogue
from sagemaker_object_detection.artifact.export import Exporter
from sagemaker_object_detection.artifact.model_info import model_info
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.dataset.pipeline import Batch
from sagemaker_object_detection.devices.driver import read_driver
from sagemaker_object_detection.devices.number_format import choose_number_format
from sagemaker_object_detection.devices.prepare import prepare_devices, tensorflow_build, why_no_gpu
from sagemaker_object_detection.devices.replicas import Replicas
from sagemaker_object_detection.errors import PlatformError, UserError, first_line
from sagemaker_object_detection.hyperparameters.read import read
from sagemaker_object_detection.job.memory import memory_limit
from sagemaker_object_detection.models.detector import Detector, build_detector
from sagemaker_object_detection.serving.predictor import Predictor
from sagemaker_object_detection.step.optimizer import build_optimizer
from sagemaker_object_detection.step.training_step import TrainingStep, choose_trainable
from sagemaker_object_detection.training.recipe import FEW_IMAGES_PER_REPLICA

MODELS = ("ssd_mobilenet_v2_fpnlite_320x320", "ssd_resnet50_v1_fpn_640x640", "ssd_efficientdet_d0_512x512")
SECTIONS = ("steps", "losses", "memory", "serving")
CLASSES, BOXES = 3, 5
ROUNDS = 5
MOST_STEPS = 200
"""Of a round."""
PROFILED_STEPS = 5
LOSSES, MOVING_LOSSES = 20, 3
RECOVERY_STEPS = 3
ANSWERS = 10
"""Of every batch size, after the first."""
LEAST_SECONDS = 15.0
"""A process takes longer than this, so that none is started with less time left."""
SHARE_OF_A_PROCESS = 1 / 3
DEFAULT_LIMIT = 2048
"""Megabytes of the GPU in the memory section, if the step's need is not known."""
WHEELS = ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-nccl-cu12")


@dataclass
class Measured:
    """A process that has ended, or was not started.

    spec: what it was asked for, with "what" of `MEASUREMENTS`.
    figures: what it printed.
    ended: why it did not end well, as a sentence without its subject; "" where it did.
    """

    spec: Mapping[str, Any]
    figures: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.measure:
        for figures in MEASUREMENTS[options.measure["what"]](options.measure):
            print(json.dumps(figures), flush=True)
        return 0
    deadline = time.monotonic() + 60 * options.minutes
    most = 60 * options.minutes * SHARE_OF_A_PROCESS
    machine = _process({"what": "machine", "device": options.device}, most)
    if reason := machine.figures.get("none") or machine.ended:
        print(f"gpu.py: no GPU to measure on: {reason}", file=sys.stderr)
        return 2
    measured = [machine]
    with tempfile.TemporaryDirectory() as folder:
        try:
            for planned in plan(options, folder):
                left = deadline - time.monotonic()
                if left < LEAST_SECONDS:
                    measured.append(Measured(planned, ended=f"left out: the {options.minutes:g} minutes were over"))
                    continue
                spec = planned
                if planned["what"] == "memory":
                    limit = options.memory_limit or limit_for(planned, measured)
                    spec = {**planned, "limit": limit if options.device == "gpu" else None}
                print(f"{left:4.0f} s left: {name_of(spec)}", file=sys.stderr, flush=True)
                measured.append(_process(spec, min(left, most)))
                if options.json:
                    options.json.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n")
        except KeyboardInterrupt:
            print("interrupted: what was measured until then", file=sys.stderr)
    print(report(measured))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="the first has all sections")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--formats", nargs="+", choices=("float32", "mixed"), default=["float32", "mixed"])
    parser.add_argument("--xla", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--minutes", type=float, default=10.0, help="all of it takes about forty")
    parser.add_argument("--image-size", type=int, help="another than the model's own, a multiple of 128")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of the rounds in which steps are timed")
    parser.add_argument("--answers", type=int, nargs="+", default=list(range(1, 9)), help="images at once")
    parser.add_argument("--memory-limit", type=int, help="MB of the GPU in the memory section; found out by default")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.models if catalogue.find(name) is None]:
        parser.error(f"--models: {', '.join(unknown)}: unknown; weights/README.md lists the base models")
    if options.image_size is not None and (options.image_size < 128 or options.image_size % 128):
        parser.error(f"--image-size: got {options.image_size}; expected a multiple of 128")
    if min(*options.batch_sizes, *options.answers, options.minutes, options.seconds) <= 0:
        parser.error("--batch-sizes, --answers, --minutes and --seconds: expected numbers above 0")
    return options


def plan(options: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    """What the processes are to measure, the most telling first. `folder` is for the exported model."""
    common = {"device": options.device, "image_size": options.image_size, "format": "float32"}
    step = {**common, "what": "steps", "xla": options.xla, "seconds": options.seconds}
    steps = [
        {**step, "model": model, "batch_size": batch_size, "format": number_format}
        for batch_size, number_format, model in itertools.product(options.batch_sizes, options.formats, options.models)
    ]
    first = {**common, "model": options.models[0]}
    loss = {**first, "what": "losses", "batch_size": min(options.batch_sizes), "xla": "off"}
    on_cpu = [
        {**loss, "name": "CPU", "device": "cpu"},
        {**loss, "name": "CPU without oneDNN", "device": "cpu", "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    ]
    gpu = {**loss, "name": "GPU"}
    on_gpu = [gpu, {**gpu, "name": "GPU without TF32", "tf32": False}] if options.device == "gpu" else []
    memory = {**first, "what": "memory", "batch_size": max(options.batch_sizes)}
    serving = {**first, "folder": folder, "answers": options.answers}
    planned = [
        steps[0],
        *on_cpu[:1],
        *on_gpu,
        *on_cpu[1:],
        {**memory, "xla": options.xla[0]},
        {**serving, "what": "export", "device": "cpu"},
        {**serving, "what": "serving"},
        *steps[1:],
    ]
    if "on" in options.xla[1:]:
        planned.append({**memory, "xla": "on"})
        if options.device == "gpu":
            planned.append({**gpu, "name": "GPU with XLA, without TF32", "tf32": False, "xla": "on"})
    return [spec for spec in planned if spec["what"].replace("export", "serving") in options.sections]


def limit_for(spec: Mapping[str, Any], measured: Sequence[Measured]) -> int:
    """Megabytes that hold about a quarter of a batch, from what a step of the same model took at its peak."""
    for each in measured:
        peak = (each.figures.get("off") or each.figures.get("on") or {}).get("peak")
        if peak and all(each.spec[key] == spec[key] for key in ("model", "format")):
            return max(1, round(peak / each.spec["batch_size"] * spec["batch_size"] / 4 / 2**20))
    return DEFAULT_LIMIT


def name_of(spec: Mapping[str, Any]) -> str:
    xla = spec.get("xla")
    parts = {
        "what": spec["what"],
        "name": spec.get("name"),
        "model": spec.get("model"),
        "batch": f"batch {spec['batch_size']}" if "batch_size" in spec else None,
        "format": spec.get("format"),
        "xla": f"XLA {xla if isinstance(xla, str) else ' and '.join(xla)}" if xla else None,
    }
    return ", ".join(str(part) for part in parts.values() if part)


def _process(spec: Mapping[str, Any], timeout: float) -> Measured:
    """Measures in a process of its own; whatever that printed until it ended, or was ended, counts."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **spec.get("environment", {})}
    if spec["device"] == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, "--measure", json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    ended = ""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        ended = f"was ended after {timeout:.0f} s, its share of the time"
    except BaseException:
        process.kill()
        raise
    figures: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith("{") and line.endswith("}"):
            figures |= json.loads(line)
    if process.returncode and not ended:
        print(errors[-4000:], file=sys.stderr)
        last = (errors.strip().splitlines() or [""])[-1]
        code = process.returncode
        ended = f"ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}: {last[:300]}"
    return Measured(spec, figures, ended, time.monotonic() - began)


# What the processes do. Each is a generator of figures, which are printed at once: a crash loses only what comes after.


def machine(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The machine as rows of a table; or under "none" why there is no GPU that can be used."""
    build, driver = tf.sysconfig.get_build_info(), read_driver()
    cuda, cudnn = (build.get(f"{name}_version", "none") for name in ("cuda", "cudnn"))
    gpus = tf.config.list_physical_devices("GPU")
    try:
        if spec["device"] == "gpu" and not gpus:
            yield {"none": f"{why_no_gpu(tensorflow_build())}; --device cpu tries the script without one"}
            return
        policy = choose_number_format(None, prepare_devices())
    except PlatformError as error:
        yield {"none": str(error)}
        return
    rows = [[f"GPU {number}", _gpu_text(gpu)] for number, gpu in enumerate(driver.gpus)] if driver and gpus else []
    yield {
        "rows": [
            *rows,
            ["driver", str(driver) if driver else "none"],
            ["TensorFlow", f"{tf.__version__}, built for CUDA {cuda}, cuDNN {cudnn}"],
            *([name, version] for name in WHEELS if (version := _version(name))),
            ["Keras, this package", f"{keras.__version__}, {__version__}"],
            ["`mixed_precision` Auto", policy],
            ["TF32", "on" if gpus and tf.config.experimental.tensor_float_32_execution_enabled() else "off"],
            ["host", f"{os.cpu_count()} CPUs, {memory_limit() / 2**30:.0f} GiB"],
        ]
    }


def _gpu_text(gpu: Any) -> str:
    return f"{gpu}, {gpu.memory / 2**30:.1f} GiB"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def steps(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Under "off" and "on" what a step with XLA off and on takes; under "rounds" seconds a step, taken in turn; under
    "off trace" and "on trace" what the profiler saw."""
    policy = _prepare(spec)
    yield {"policy": policy}
    base, batch_size = _base(spec), spec["batch_size"]
    detector = build_detector(base, CLASSES, dtype=policy)
    batches = _endless(fixed_batch(base, batch_size))
    variants: dict[str, tuple[WitnessedStep, int]] = {}
    for name in spec["xla"]:
        _forget_peak()
        step = _step(detector, xla=name == "on", frozen=batch_size < FEW_IMAGES_PER_REPLICA)
        try:
            first = _seconds(step, batches, 1)
            warm = [_seconds(step, batches, 1) for _ in range(2)][-1]
        except UserError as error:
            yield {name: {"error": first_line(error), "raised": step.raised}}
            continue
        count = min(MOST_STEPS, max(1, round(spec["seconds"] / warm)))
        each = _seconds(step, batches, count)
        yield {name: {"first": first, "each": each, "peak": _peak(), **step.outcome(batches)}}
        variants[name] = step, count
    rounds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (step, count) in variants.items():
            rounds[name].append(_seconds(step, batches, count))
    yield {"rounds": rounds}
    for name, (step, _) in variants.items():
        yield {f"{name} trace": asdict(_trace(step, batches))}


def losses(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The losses of steps on different batches with frozen batch normalization; under "moving" the first ones without,
    where a difference of 1e-7 in the weights makes one of 1e-3 in the next loss. The initial kernels are drawn on the
    host, so that they are the same on every device, and so wide that no features vanish (He et al., 2015)."""
    _prepare(spec)
    tf.config.experimental.enable_tensor_float_32_execution(spec.get("tf32", True))
    base = _base(spec)
    detector = build_detector(base, CLASSES)
    random = np.random.default_rng(0)
    start = [_wide_kernel(variable, random) for variable in detector.variables]
    for name, frozen, count in (("losses", True, LOSSES), ("moving", False, MOVING_LOSSES)):
        for variable, value in zip(detector.variables, start, strict=True):
            variable.assign(value)
        step = _step(detector, xla=spec["xla"] == "on", frozen=frozen)
        yield {name: [float(step(fixed_batch(base, spec["batch_size"], seed))[0]) for seed in range(count)]}


def _wide_kernel(variable: keras.Variable, random: np.random.Generator) -> np.ndarray:
    """Initial values of a kernel; whatever else a variable is keeps its own."""
    shape = tuple(variable.shape)
    if len(shape) != 4:
        return np.asarray(variable.numpy())
    fan_in = math.prod(shape[:2] if "depthwise" in variable.name else shape[:3])
    return random.normal(0.0, math.sqrt(2.0 / fan_in), shape).astype(np.float32)


def memory(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Steps with so little memory that the batch does not fit; on a CPU, which has no such limit, it is pretended."""
    policy = _prepare(spec)
    base = _base(spec)
    detector = build_detector(base, CLASSES, dtype=policy)
    batches = _endless(fixed_batch(base, spec["batch_size"]))
    step = _step(detector, xla=spec["xla"] == "on", frozen=False)
    if spec["device"] == "cpu":

        def full(parts: Sequence[Batch]) -> tf.Tensor:
            raise tf.errors.ResourceExhaustedError(None, None, "pretended, for want of a GPU")

        step._whole = full  # type: ignore[assignment]
    try:
        first = _seconds(step, batches, 1)
        each = _seconds(step, batches, RECOVERY_STEPS)
    except UserError as error:
        yield {"error": first_line(error), "raised": step.raised}
        return
    yield {"first": first, "each": each, "peak": _peak(), **step.outcome(batches)}


def exported(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Writes the model that `serving` answers with; without a GPU, so that the answers are the first work of one."""
    base = _base(spec)
    labels = Labels(ids=tuple(range(CLASSES)), names=tuple(f"class {number}" for number in range(CLASSES)))
    info = model_info(base, labels, hyperparameters={}, weights={}, fingerprints={}, epoch=None, metrics={})
    Exporter(build_detector(base, CLASSES), Path(spec["folder"])).write(labels, info)
    yield {}


def serving(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Seconds to load the model, and of the first and of later answers by the number of images, largest first as the
    server warms up. Images are JPEG files of 640x480."""
    _prepare(spec)
    rows, columns = np.indices((480, 640))
    with tf.device("CPU:0"):
        picture = tf.constant(np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=2), tf.uint8)
        image = tf.io.encode_jpeg(picture).numpy()
    began = time.perf_counter()
    predictor = Predictor(Path(spec["folder"]))
    loaded = time.perf_counter() - began

    def answer(count: int) -> float:
        began = time.perf_counter()
        predictor([image] * count)
        return time.perf_counter() - began

    sizes = sorted(spec["answers"], reverse=True)
    first = {size: answer(size) for size in sizes}
    yield {"loaded": loaded, "first": first}
    later = [{size: answer(size) for size in sizes} for _ in range(ANSWERS)]
    yield {"later": {size: statistics.median(each[size] for each in later) for size in sizes}, "peak": _peak()}


MEASUREMENTS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[dict[str, Any]]]] = {
    "machine": machine,
    "steps": steps,
    "losses": losses,
    "memory": memory,
    "export": exported,
    "serving": serving,
}


class WitnessedStep(TrainingStep):
    """A job's step that also remembers what was raised when memory ran out."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.raised: list[str] = []

    def _halve(self, share: int, error: Exception) -> None:
        self.raised.append(f"{type(error).__name__}: {first_line(error)[:160]}")
        super()._halve(share, error)

    def outcome(self, batches: Iterator[tuple[Batch, ...]]) -> dict[str, Any]:
        """What became of it, and whether the loss is a number."""
        finite = math.isfinite(float(self(*next(batches))))
        return {"raised": self.raised, "micro_batch": self.micro_batch, "finite": finite}


def _prepare(spec: Mapping[str, Any]) -> str:
    """One GPU, or none, with memory growth as in a job, or so many megabytes; returns the dtype policy."""
    gpus = tf.config.list_physical_devices("GPU")[:1]
    if spec["device"] == "gpu" and not gpus:
        sys.exit("the GPU is no longer there")
    tf.config.set_visible_devices(gpus, "GPU")
    capability = None
    for gpu in gpus:
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        if limit := spec.get("limit"):
            only = tf.config.LogicalDeviceConfiguration(memory_limit=limit)
            tf.config.set_logical_device_configuration(gpu, [only])
        else:
            tf.config.experimental.set_memory_growth(gpu, True)
    return choose_number_format(spec["format"] == "mixed", capability)


def _base(spec: Mapping[str, Any]) -> BaseModel:
    base = catalogue.find(spec["model"])
    assert base is not None
    return replace(base, input_size=spec["image_size"] or base.input_size)


def fixed_batch(base: BaseModel, batch_size: int, seed: int = 0) -> Batch:
    """Noise with five boxes in each image, in the host's memory."""
    random = np.random.default_rng(seed)
    size, corners = base.input_size, np.sort(random.uniform(0.0, 1.0, (batch_size, BOXES, 2, 2)), axis=2)
    with tf.device("CPU:0"):
        return Batch(
            images=tf.constant(random.integers(0, 256, (batch_size, size, size, 3)), tf.uint8),
            true_shapes=tf.constant([[size, size, 3]] * batch_size, tf.int32),
            boxes=tf.constant(corners.reshape(batch_size, BOXES, 4), tf.float32),
            classes=tf.constant(random.integers(0, CLASSES, (batch_size, BOXES)), tf.int64),
            box_weights=tf.ones([batch_size, BOXES]),
            regions=tf.zeros([batch_size, 0, 4]),
            image_weights=tf.ones([batch_size]),
            indices=tf.range(batch_size, dtype=tf.int64),
        )


def _endless(batch: Batch) -> Iterator[tuple[Batch, ...]]:
    """The same batch again and again, copied to the device each time, one step ahead, as in a job."""
    return iter(_alone().distributed(tf.data.Dataset.from_tensors(batch).repeat()))


def _alone() -> Replicas:
    return Replicas(tf.distribute.get_strategy())


def _step(detector: Detector, *, xla: bool, frozen: bool, **hyperparameters: str) -> WitnessedStep:
    """The step of a job with these hyperparameters, and defaults for the others."""
    return WitnessedStep(
        detector,
        build_optimizer(read({"learning_rate_schedule": "constant", **hyperparameters}), total_steps=1000),
        choose_trainable(detector, only_top_layer=False, freeze_batch_norm=frozen),
        l2=None,
        warm_up_statistics=not frozen,
        replicas=_alone(),
        xla=xla,
    )


def _seconds(step: TrainingStep, batches: Iterator[tuple[Batch, ...]], count: int) -> float:
    """Of a step, of so many, the last of which is waited for."""
    began = time.perf_counter()
    for _ in range(count):
        loss = step(*next(batches))
    float(loss[0])
    return (time.perf_counter() - began) / count


def _peak() -> int | None:
    """Bytes of the GPU's memory."""
    gpus = tf.config.list_logical_devices("GPU")
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if gpus else None


def _forget_peak() -> None:
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


@dataclass(frozen=True)
class Copies:
    """In one direction, in a step; `largest` is that of all steps, in bytes."""

    count: float = 0.0
    bytes: float = 0.0
    largest: int = 0


@dataclass(frozen=True)
class Trace:
    """What a step does on a GPU, as the profiler saw it.

    gpus: that the trace has, 0 where the profiler saw none.
    kernels: that ran. launches: calls of the host that start one kernel, or many at once as a CUDA graph.
    """

    gpus: int
    kernels: float
    launches: float
    to_gpu: Copies
    to_host: Copies


def read_trace(space: xplane_pb2.XSpace, steps: int) -> Trace:
    """Reads a trace of so many steps: on the planes of GPUs kernels have a stat `kernel_details`, copies are called
    MemcpyH2D or MemcpyD2H and have `memcpy_details` ("... size:4096 ..."); see TensorFlow's cupti_collector.cc."""
    gpus = kernels = launches = 0
    sizes: dict[str, list[int]] = {"MemcpyH2D": [], "MemcpyD2H": []}
    for plane in space.planes:
        is_gpu = plane.name.startswith("/device:GPU:")
        gpus += is_gpu
        stats = {number: metadata.name for number, metadata in plane.stat_metadata.items()}
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            name = names.get(event.metadata_id, "")
            if not is_gpu:
                launches += name.startswith(("cuLaunchKernel", "cudaLaunchKernel", "cuGraphLaunch", "cudaGraphLaunch"))
                continue
            details = {stats.get(stat.metadata_id): stat for stat in event.stats}
            kernels += "kernel_details" in details
            if name in sizes and (found := details.get("memcpy_details")) is not None:
                text = stats.get(found.ref_value, "") or found.str_value
                sizes[name] += [int(size) for size in re.findall(r"\bsize:(\d+)", text)]
    to_gpu, to_host = (Copies(len(each) / steps, sum(each) / steps, max(each, default=0)) for each in sizes.values())
    return Trace(gpus, kernels / steps, launches / steps, to_gpu, to_host)


def _trace(step: TrainingStep, batches: Iterator[tuple[Batch, ...]]) -> Trace:
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        _seconds(step, batches, PROFILED_STEPS)
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        for path in Path(folder).rglob("*.xplane.pb"):
            space.MergeFromString(path.read_bytes())
    return read_trace(space, PROFILED_STEPS)


# What is printed.


def report(measured: Sequence[Measured]) -> str:
    """Everything as tables in markdown, and what is missing."""
    of = {what: [each for each in measured if each.spec["what"] == what] for what in MEASUREMENTS}
    parts = [_table("## Machine", ["", ""], [row for each in of["machine"] for row in each.figures["rows"]])]
    parts += _steps_tables(of["steps"]) if of["steps"] else []
    parts += _losses_table(of["losses"])
    if of["memory"]:
        parts.append(_memory_table(of["memory"]))
    for each in of["serving"]:
        parts += _serving_table(each)
    if missing := [f"- {name_of(each.spec)}: {each.ended}" for each in measured if each.ended]:
        parts.append("\n".join(["## Not measured, or not to the end", "", *missing]))
    return "\n\n".join(parts)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |" for cells in [head, *rows]]
    return "\n".join([title, "", lines[0], "|---" * len(head) + "|", *lines[1:]])


def _steps_tables(measured: Sequence[Measured]) -> list[str]:
    times, copies = [], []
    for each in measured:
        figures, batch_size = each.figures, each.spec["batch_size"]
        rounds = figures.get("rounds", {})
        for name in (name for name in each.spec["xla"] if name in figures):
            found = figures[name]
            row = [each.spec["model"], batch_size, figures["policy"], name]
            if "error" in found:
                times.append([*row, "", "", "", "", "", "; ".join([*found["raised"], found["error"]])])
                continue
            seconds = statistics.median(rounds.get(name, [found["each"]]))
            gain = _ratio(rounds["off"], rounds["on"]) if name == "on" and "off" in rounds else ""
            figures_of_row = [f"{1000 * seconds:.1f}", f"{batch_size / seconds:.1f}", f"{found['first']:.1f}"]
            times.append([*row, *figures_of_row, _gigabytes(found["peak"]), gain, _notes(found)])
            if trace := figures.get(f"{name} trace"):
                copies.append([*row, *_trace_cells(trace)])
    what = ["model", "batch", "format", "XLA"]
    head = [*what, "ms/step", "images/s", "first step s", "peak GiB", "times faster with XLA", "notes"]
    text = _table("## Training step", head, times)
    text += (
        f"\n\nMedians of {ROUNDS} rounds, which XLA off and on took in turn; the ratio has its least and most. "
        f"Batch normalization is frozen below {FEW_IMAGES_PER_REPLICA} images, as in a job from published weights."
    )
    head = [*what, "copies to the GPU", "kB", "copies to the host", "kB", "largest kB", "kernels", "launches"]
    traces = _table("## Copies and kernels of a step", head, copies)
    if any(row[4:] == _trace_cells(None) for row in copies):
        traces += (
            "\n\nWhere nothing is told, the profiler saw no GPU: if there is one, run the container with --privileged, "
            "which CUPTI may need."
        )
    return [text, traces] if copies else [text]


def _trace_cells(trace: Mapping[str, Any] | None) -> list[str]:
    """None, or a trace without a GPU, gives empty cells."""
    if trace is None or not trace["gpus"]:
        return [""] * 7
    to_gpu, to_host = trace["to_gpu"], trace["to_host"]
    cells = [to_gpu["count"], to_gpu["bytes"] / 1000, to_host["count"], to_host["bytes"] / 1000]
    return [f"{cell:.1f}" for cell in [*cells, to_host["largest"] / 1000, trace["kernels"], trace["launches"]]]


def _ratio(off: Sequence[float], on: Sequence[float]) -> str:
    ratios = [a / b for a, b in zip(off, on, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.2f}"


def _notes(found: Mapping[str, Any]) -> str:
    notes = list(found["raised"])
    if found["micro_batch"] is not None:
        notes.append(f"{found['micro_batch']} at a time")
    return "; ".join(notes if found["finite"] else [*notes, "the loss is no number"])


def _losses_table(measured: Sequence[Measured]) -> list[str]:
    found = {each.spec["name"]: each.figures for each in measured if "moving" in each.figures}
    if not found:
        return []
    spec, reference = measured[0].spec, found.get("CPU")
    rows: list[list[object]] = []
    for key, count in (("losses", LOSSES), ("moving", MOVING_LOSSES)):
        what = "" if key == "losses" else ", moving statistics"
        for number in (number for number in range(count) if number < 3 or number % 5 == 4):
            rows.append([f"step {number + 1}{what}", *(f"{each[key][number]:.6f}" for each in found.values())])
        if reference:
            worst = [relative_difference(each[key], reference[key]) for each in found.values()]
            rows.append([f"largest relative difference{what}", *(f"{each:.1e}" for each in worst)])
    text = _table("## Loss beside the CPU's", ["", *found], rows)
    text += (
        f"\n\n{spec['model']}, float32, batch {spec['batch_size']}, the same weights and batches, batch normalization "
        "frozen but for the last rows. These magnify rounding from step to step: how much of it is no fault, the CPU "
        "without oneDNN shows."
    )
    return [text]


def relative_difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest; infinite where one is no number."""
    ratios = [abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True)]
    return max(ratio if math.isfinite(ratio) else math.inf for ratio in ratios)


def _memory_table(measured: Sequence[Measured]) -> str:
    rows = []
    for each in measured:
        figures, spec = each.figures, each.spec
        limit = "" if spec.get("limit") is None else spec["limit"]
        row = [spec["model"], spec["batch_size"], spec["xla"], limit, "; ".join(figures.get("raised", []))]
        if "each" in figures:
            halved = figures["micro_batch"]
            fitting = f"with {halved} at a time" if halved else "at once: lower --memory-limit"
            outcome = f"finished {fitting}{'' if figures['finite'] else ', but the loss is no number'}"
            times = [f"{figures['first']:.1f}", f"{1000 * figures['each']:.1f}"]
            rows.append([*row, outcome, *times, _gigabytes(figures["peak"])])
        else:
            rows.append([*row, figures.get("error") or each.ended, "", "", ""])
    head = ["model", "batch", "XLA", "limit MB", "raised", "outcome", "first step s", "ms/step", "peak GiB"]
    return _table("## Out of memory", head, rows)


def _serving_table(measured: Measured) -> list[str]:
    figures = measured.figures
    if "first" not in figures:
        return []
    later = figures.get("later", {})
    rows = []
    for size in sorted(figures["first"], key=int):
        settled = [f"{1000 * later[size]:.1f}", f"{1000 * later[size] / int(size):.1f}"] if later else ["", ""]
        rows.append([size, f"{1000 * figures['first'][size]:.1f}", *settled])
    text = _table("## Serving", ["images at once", "first ms", "settled ms", "ms an image"], rows)
    memory = f", {_gigabytes(figures['peak'])} GiB at most" if figures.get("peak") else ""
    text += (
        f"\n\n{measured.spec['model']}, loaded in {figures['loaded']:.1f} s{memory}. The largest was asked first, as "
        f"when the server warms up; settled is the median of {ANSWERS}."
    )
    return [text]


if __name__ == "__main__":
    sys.exit(main())
