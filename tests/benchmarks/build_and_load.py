"""Seconds and peak memory to build each base model and to load its weights from a checkpoint.

    python tests/benchmarks/build_and_load.py [MODEL...]

Each model is measured in a process of its own, from a checkpoint of the published names and shapes (with random values)
that another process wrote. The peak is the resident memory of the whole process, the framework included, which alone
takes what the first line says. Ratios between rows mean something; the figures themselves depend on the machine.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sagemaker_object_detection import catalogue

_CLASSES = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[base.name for base in catalogue.CATALOGUE])
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write or options.load:
        base = catalogue.find(options.models[0])
        assert base is not None
        print(json.dumps(_write(base, options.write) if options.write else _load(base, options.load)))
        return

    print(f"{'model':34} {'variables':>9} {'build s':>8} {'load s':>7} {'peak MB':>8}")
    framework = _child("--load", Path("/"), catalogue.DEFAULT_MODEL.name)
    print(f"{'(the framework alone)':34} {framework['peak']:35.0f}", flush=True)
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            prefix = Path(folder) / "ckpt-0"
            _child("--write", prefix, name)
            figures = _child("--load", prefix, name)
        columns = f"{figures['variables']:9.0f} {figures['build']:8.2f} {figures['load']:7.2f} {figures['peak']:8.0f}"
        print(f"{name:34} {columns}", flush=True)


def _child(flag: str, prefix: Path, name: str) -> dict[str, float]:
    command = [sys.executable, __file__, name, flag, str(prefix)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def _write(base: catalogue.BaseModel, prefix: Path) -> dict[str, float]:
    import tensorflow as tf

    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.weights.model_garden import checkpoint_variables

    variables = checkpoint_variables(build_detector(base, _CLASSES))
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.convert_to_tensor(variable.value) for variable in variables.values()],
    )
    return {}


def _load(base: catalogue.BaseModel, prefix: Path) -> dict[str, float]:
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.weights.checkpoint import read_model_garden
    from sagemaker_object_detection.weights.install import install_model_garden
    from sagemaker_object_detection.weights.recognition import recognise_variables

    figures = {}
    if prefix != Path("/"):
        start = time.perf_counter()
        detector = build_detector(base, _CLASSES)
        built = time.perf_counter()
        stored = read_model_garden(prefix)
        assert base in recognise_variables(stored)
        install_model_garden(detector, stored, class_columns=range(_CLASSES))
        figures = {
            "variables": len(detector.weights),
            "build": built - start,
            "load": time.perf_counter() - built,
        }
    return {**figures, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    main()
