"""Training steps per second of the same model, targets and losses on Keras's JAX backend, and the share of the card.

    PYTHONPATH=src python tests/benchmarks/gpu_step.py [--models NAME...] [--batch-sizes 8 64] [--json FILE]

It needs jax (with CUDA for a GPU), keras and numpy, and imports nothing of TensorFlow: the training step here is its
own, of `build_detector`, `assign_targets`, `detection_losses`, `regularization_loss` and Keras's adam. Every
configuration is a process of its own: model, batch size, float32 or mixed bfloat16, and the step compiled as a whole or
not at all.

Share: the operations of a step, as XLA counts them in the compiled one, by the seconds it takes, divided by the rate of
the same card at a large matrix product of the same number format (float32 as JAX multiplies it by default). Steps are
counted after the first two, until `--seconds` are over. On a CPU it is tried with
`--models ssd_mobilenet_v2_fpnlite_320x320 --batch-sizes 1 --image-size 128 --matrix 512 --seconds 1`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("ssd_resnet50_v1_fpn_640x640", "ssd_mobilenet_v2_fpnlite_320x320", "ssd_efficientdet_d0_512x512")
FORMATS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
CLASSES, BOXES = 3, 5


@dataclass(frozen=True)
class Timing:
    first: float
    """Seconds of the first call, which traces and compiles."""
    each: float
    """Seconds of a call after the second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--formats", nargs="+", choices=tuple(FORMATS), default=list(FORMATS))
    parser.add_argument("--compiled", nargs="+", choices=("yes", "no"), default=["yes", "no"])
    parser.add_argument("--image-size", type=int, help="another than the model's own, a multiple of 128")
    parser.add_argument("--matrix", type=int, default=8192, help="rows and columns of the matrix product")
    parser.add_argument("--seconds", type=float, default=10.0, help="for which each configuration is timed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return

    common = {"seconds": options.seconds, "image_size": options.image_size, "matrix": options.matrix}
    rates = {name: _child({"what": "matrix", "format": name, **common}) for name in options.formats}
    for name, rate in rates.items():
        print(f"{rate['device']}: {rate['rate'] / 1e12:.2f} TFLOP/s at {options.matrix}^3 in {name}", flush=True)
    print("\n| model | batch | format | compiled | images/s | ms/step | GFLOP/image | TFLOP/s | share | GB | first s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    found = []
    for model in options.models:
        for batch_size in options.batch_sizes:
            for name in options.formats:
                flops = None
                for compiled in options.compiled:
                    spec = {"what": "step", "model": model, "batch_size": batch_size, "format": name, **common}
                    figures = _child({**spec, "compiled": compiled == "yes"})
                    flops = figures.setdefault("flops", flops)
                    found.append({**spec, "compiled": compiled, **figures})
                    print(_row(found[-1], rates[name]["rate"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"rates": rates, "steps": found}, indent=2) + "\n")


def _row(found: Mapping[str, Any], rate: float) -> str:
    cells = [found["model"], found["batch_size"], found["format"], found["compiled"]]
    if "error" in found:
        return f"| {' | '.join(map(str, cells))} | {found['error']} |"
    seconds, flops = found["each"], found["flops"]
    cells += [f"{found['batch_size'] / seconds:.1f}", f"{1000 * seconds:.1f}"]
    if flops is None:
        cells += ["", "", ""]
    else:
        cells += [f"{flops / found['batch_size'] / 1e9:.1f}", f"{flops / seconds / 1e12:.2f}"]
        cells += [f"{100 * flops / seconds / rate:.1f}%"]
    cells += ["" if found["peak"] is None else f"{found['peak'] / 2**30:.1f}", f"{found['first']:.1f}"]
    return f"| {' | '.join(map(str, cells))} |"


def _child(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a process of its own measured, or {"error": ...} where it ended otherwise."""
    command = [sys.executable, __file__, "--measure", json.dumps(spec)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 0:
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures
    if spec["what"] == "step":  # the other configurations are worth having all the same
        print(done.stderr, file=sys.stderr)
        return {"error": "does not fit into the memory" if "RESOURCE_EXHAUSTED" in done.stderr else "failed"}
    sys.exit(f"{done.stderr}\n{' '.join(command)} ended with {done.returncode}")


def measure(spec: Mapping[str, Any]) -> dict[str, Any]:
    figures = matrix_rate(spec) if spec["what"] == "matrix" else training_step(spec)
    assert "tensorflow" not in sys.modules
    return figures


def matrix_rate(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Operations per second of a product of two square matrices."""
    import jax
    import jax.numpy as jnp

    size = spec["matrix"]
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(spec["format"]))
    product = jax.jit(lambda a: a @ a)
    timing = _time(lambda: product(matrix), min(spec["seconds"], 3.0))
    return {"rate": 2 * size**3 / timing.each, "device": jax.devices()[0].device_kind}


def training_step(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Forward, matching, losses, gradients and the optimizer's update, on a fixed batch that lies on the device."""
    import jax
    import keras

    from sagemaker_object_detection import catalogue
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.models.layers import LayerFactory
    from sagemaker_object_detection.models.losses import batch_terms, detection_losses, regularization_loss
    from sagemaker_object_detection.models.targets import assign_targets

    base = catalogue.find(spec["model"])
    assert base is not None
    base = replace(base, input_size=spec["image_size"] or base.input_size)
    batch_size, size = spec["batch_size"], base.input_size
    LayerFactory.drop_connect = _drop_connect  # type: ignore[method-assign,assignment]
    detector = build_detector(base, CLASSES, dtype=FORMATS[spec["format"]])
    detector(np.zeros((1, size, size, 3), np.float32))  # a model of models knows its variables once it was called
    optimizer = keras.optimizers.Adam(0.001)
    optimizer.build(detector.trainable_variables)
    random = np.random.default_rng(0)
    corners = np.sort(random.uniform(0.0, 1.0, (batch_size, BOXES, 2, 2)), axis=2).astype(np.float32)
    batch = jax.device_put(
        (
            random.uniform(-1.0, 1.0, (batch_size, size, size, 3)).astype(np.float32),
            corners.reshape(batch_size, BOXES, 4),
            random.integers(0, CLASSES, (batch_size, BOXES)).astype(np.int32),
        )
    )

    def step(trainable: Any, others: Any, slots: Any, batch: Any) -> tuple[Any, Any, Any, Any]:
        images, boxes, classes = batch
        weights = np.ones((batch_size, BOXES), np.float32)
        targets = assign_targets(detector.anchors, boxes, classes, weights, base.family)

        def loss(trainable: Any) -> tuple[Any, Any]:
            predictions, moved = detector.stateless_call(trainable, others, images, training=True)
            losses = detection_losses(predictions, targets, base.family)
            localization, classification = batch_terms(losses, np.ones(batch_size, np.float32))
            with keras.StatelessScope(state_mapping=zip(detector.trainable_variables, trainable, strict=True)):
                regularization = regularization_loss(detector)
            return localization + classification + regularization, moved

        (total, moved), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, moved, slots, total

    state = [
        [variable.value for variable in variables]
        for variables in (detector.trainable_variables, detector.non_trainable_variables, optimizer.variables)
    ]
    figures: dict[str, Any] = {}
    run: Callable[..., Any] = step
    began = time.perf_counter()
    if spec["compiled"]:
        run = jax.jit(step, donate_argnums=(0, 1, 2)).lower(*state, batch).compile()
        costs = run.cost_analysis()  # type: ignore[attr-defined]
        figures["flops"] = (costs[0] if isinstance(costs, list) else costs)["flops"]
    compiled_in = time.perf_counter() - began

    def once() -> Any:
        *state[:], total = run(*state, batch)
        return total

    timing = _time(once, spec["seconds"])
    assert np.isfinite(float(once()))
    memory = jax.devices()[0].memory_stats() or {}
    peak = memory.get("peak_bytes_in_use")
    return {**figures, "first": compiled_in + timing.first, "each": timing.each, "peak": peak}


def _drop_connect(layers: Any, name: str, rate: float) -> Any:
    """EfficientNet's drop-connect by Keras's own layer: the same arithmetic, but noise that a jitted function can draw;
    the package's own noise depends on a place in the batch that only TensorFlow's step knows."""
    import keras

    return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), seed=0, name=name, dtype=layers.dtype)


def _time(once: Callable[[], Any], seconds: float) -> Timing:
    """Two calls that are not counted, then as many as `seconds` hold, the last of which is waited for."""
    import jax

    began = time.perf_counter()
    jax.block_until_ready(once())
    first = time.perf_counter() - began
    began = time.perf_counter()
    jax.block_until_ready(once())
    count = max(1, round(seconds / max(time.perf_counter() - began, 1e-6)))
    began = time.perf_counter()
    for _ in range(count):
        last = once()
    jax.block_until_ready(last)
    return Timing(first, (time.perf_counter() - began) / count)


if __name__ == "__main__":
    main()
