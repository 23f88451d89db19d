#!/usr/bin/env python3
"""One model by each CPU runtime, on the same cores and images: the SavedModel, LiteRT, ONNX Runtime and OpenVINO.

    .venv-runtimes/bin/python tests/benchmarks/cpu_runtimes.py --model MODEL [MODEL ...] --images FOLDER
        [--threads N] [--repeat N] [--work FOLDER] [--only NAME,...]

MODEL is a model directory, or an archive of a published base model, which has COCO's classes. Each is exported once
into --work, by the functions behind `export`. Each runtime is a process of its own that takes rounds of a few images in
turn with the others, from the decoded image to its detections: resizing, network and suppression. It prints the median
time of one image and the images of a second; the SavedModel's time divided by that, round by round, as it passed and
as processor time, which other processes disturb less; and how far the scores of an image's ten best detections are off.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rounds import Measured, Prepared, WorkerSpec, measure_workers, ratios, serve

PER_ROUND = 5
BEST = 10
FILES = {
    "SavedModel": "",
    "LiteRT float32": "float32.tflite",
    "LiteRT int8": "int8.tflite",
    "ONNX Runtime": "model.onnx",
    "OpenVINO": "model.onnx",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, required=True, help="JPEG and PNG files, at any depth")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("cpu-runtimes-benchmark"))
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(FILES), help=f"of {', '.join(FILES)}")
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[:20]
    for model in options.model:
        work = options.work / model.resolve().as_posix().strip("/").replace("/", "-")
        folder, classes = _exported(model, work, paths)
        specs: dict[str, WorkerSpec] = {
            name: (
                Path(__file__).name,
                {
                    "name": name,
                    "model": str(folder.resolve()),
                    "file": str(work.resolve() / FILES[name]),
                    "images": [str(path.resolve()) for path in paths],
                    "threads": options.threads,
                },
                sys.executable,
            )
            for name in FILES
            if name in options.only
        }
        print(f"{model}: {classes} classes, {options.threads} threads, {options.repeat} rounds of {PER_ROUND} images")
        print(_table(measure_workers(specs, options.repeat)), end="\n\n", flush=True)


def _table(found: Mapping[str, Measured]) -> str:
    heads = ("runtime", "one image, ms", "CPU-ms", "images a second", "times as fast", "by CPU-ms", "scores off by")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    ours = found["SavedModel"]
    for name, measured in found.items():
        seconds = measured.median(lambda each: each.seconds / each.images)
        faster = ratios(ours, measured, lambda each: each.seconds / each.images)
        cpu, leaner = (
            measured.median(lambda each: each.cpu_per_image),
            ratios(ours, measured, lambda each: each.cpu_per_image),
        )
        off = f"{_off(ours.facts['found'], measured.facts['found']):.2g}"
        rate = sum(each.images for each in measured.rounds) / sum(each.seconds for each in measured.rounds)
        lines.append(f"| {name} | {1000 * seconds:.1f} | {1000 * cpu:.1f} | {rate:.1f} | {faster} | {leaner} | {off} |")
    return "\n".join(lines)


def _off(ours: list[list[float]], other: list[list[float]]) -> float:
    """The largest difference between scores [images, BEST] of the same place."""
    return max(abs(a - b) for mine, its in zip(ours, other, strict=True) for a, b in zip(mine, its, strict=True))


def model_directory(model: Path, work: Path) -> tuple[Path, int]:
    """The model directory, which is made in `work` of an archive of a base model, and its number of classes."""
    from sagemaker_object_detection.artifact.export import Exporter
    from sagemaker_object_detection.artifact.model_info import model_info, read_model_info
    from sagemaker_object_detection.serving.published import COCO, published_detector
    from sagemaker_object_detection.weights.sources import source_at

    if not (model / "model_info.json").exists():
        archive, model = model, work / "model"
        if not (model / "model_info.json").exists():
            weights = source_at(str(archive), str(archive)).fetch()
            assert weights is not None
            detector = published_detector(weights)
            nothing: dict[str, Any] = {"hyperparameters": {}, "weights": {}, "fingerprints": {}, "metrics": {}}
            Exporter(detector, model).write(COCO, model_info(detector.base, COCO, epoch=None, **nothing))
    return model, len(read_model_info(model).labels)


def _exported(model: Path, work: Path, paths: list[Path]) -> tuple[Path, int]:
    """The model directory and its number of classes, with all files of it in `work`."""
    import tensorflow as tf

    from sagemaker_object_detection.artifact.model_info import read_model_info
    from sagemaker_object_detection.artifact.restore import restore_detector
    from sagemaker_object_detection.runtimes.onnx import convert_onnx
    from sagemaker_object_detection.runtimes.tflite import convert_tflite

    model, classes = model_directory(model, work)
    info = read_model_info(model)
    detector = restore_detector(model, info, "float32")
    images = [tf.io.decode_image(path.read_bytes(), channels=3).numpy() for path in paths]
    makers: dict[str, Callable[[], bytes]] = {
        f"{precision}.tflite": lambda precision=precision: convert_tflite(  # type: ignore[misc]
            detector, info.labels.names, max_detections=100, precision=precision, calibration=images
        )
        for precision in ("float32", "int8")
    }
    makers["model.onnx"] = lambda: convert_onnx(detector, info.labels.names, max_detections=100)
    for name, make in makers.items():
        if not (work / name).exists():
            work.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(make())
    return model, classes


def prepare(spec: Mapping[str, Any]) -> Prepared:
    """A worker."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(spec["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    detect = _detector(spec)
    images = [tf.io.decode_image(Path(path).read_bytes(), channels=3).numpy() for path in spec["images"]]
    turn = itertools.cycle(images)

    def take() -> int:
        for _ in range(PER_ROUND):
            detect(next(turn))
        return PER_ROUND

    rows = [detect(image) for image in images]
    return Prepared(take, {"found": [row.scores[:BEST].tolist() for row in rows]})


def _detector(spec: Mapping[str, Any]) -> Callable[[Any], Any]:
    import tensorflow as tf

    from sagemaker_object_detection.artifact.model_info import read_model_info
    from sagemaker_object_detection.runtimes.comparison import Found
    from sagemaker_object_detection.runtimes.onnx import onnx_detect
    from sagemaker_object_detection.runtimes.tflite import TFLiteDetector

    file, threads = Path(spec["file"]), spec["threads"]
    if spec["name"].startswith("LiteRT"):
        return TFLiteDetector(file.read_bytes(), read_model_info(Path(spec["model"])).base, threads)
    if spec["name"] == "ONNX Runtime":
        return onnx_detect(file.read_bytes(), threads)
    if spec["name"] == "OpenVINO":
        import openvino

        # bfloat16, which it would take where the processor has it, finds other detections.
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.compile_model(openvino.Core().read_model(file), "CPU", settings)
        places = {output.get_any_name(): index for index, output in enumerate(compiled.outputs)}

        def detect(image: Any) -> Found:
            found = compiled(image[None])
            boxes, scores, classes = (found[places[f"detection_{name}"]][0] for name in ("boxes", "scores", "classes"))
            return Found(boxes, scores, classes.astype(int) - 1, len(scores))

        return detect
    module = tf.saved_model.load(str(Path(spec["model"]) / "1"))
    signature = module.signatures["serving_default"]

    def detect_reference(image: Any, module: Any = module) -> Found:
        found = signature(input_tensor=tf.constant(image[None]))
        boxes, scores, classes = (found[f"detection_{name}"][0].numpy() for name in ("boxes", "scores", "classes"))
        return Found(boxes, scores, classes.astype(int) - 1, len(scores))

    return detect_reference


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        serve(prepare)
    else:
        main()
