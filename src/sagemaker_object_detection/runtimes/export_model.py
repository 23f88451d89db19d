"""`export`: a trained model as a file of another runtime, once it is known to find what the SavedModel finds."""

import os
from collections.abc import Mapping
from pathlib import Path

from sagemaker_object_detection.dataset.load import load_channel
from sagemaker_object_detection.devices.prepare import use_the_cpu
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.evaluate import MODEL_WAYS, read_as_trained
from sagemaker_object_detection.job.config import channel_problem
from sagemaker_object_detection.models.postprocess import MAX_DETECTIONS
from sagemaker_object_detection.runtimes.comparison import compare, pixels, saved_model_detect
from sagemaker_object_detection.runtimes.onnx import convert_onnx, onnx_detect
from sagemaker_object_detection.runtimes.tflite import TFLiteDetector, convert_tflite
from sagemaker_object_detection.serving.predictor import Predictor
from sagemaker_object_detection.serving.restored import RestoredModel
from sagemaker_object_detection.serving.whole_files import whole_file, writing
from sagemaker_object_detection.weights.sources import Source, source_at

CALIBRATION_IMAGES = 100
"""That int8 sees at most: more change ranges little."""


def export_model(
    model: Path,
    output: Path,
    format: str,
    *,
    precision: str,
    data: Path | None,
    max_loss: float,
    given: Mapping[str, str],
) -> None:
    """Writes the file, and prints how its mean average precision compares with the SavedModel's.

    Args:
        model: a model directory, a model.tar.gz or a folder that holds one, or a published base model.
        output: the file, which does not exist yet.
        format: "tflite" or "onnx".
        precision: of `tflite.PRECISIONS`.
        data: a labelled channel, with the model's classes or some of them. None: nothing is compared.
        max_loss: of mean average precision, from 0 to 1.
        given: hyperparameters that say how the channel is read, text by name.

    Raises:
        UserError: something is wrong with these, or the file finds less than the SavedModel by more than `max_loss`.
            There is no file then.
    """
    source = _checked(model, output, format, precision, data)
    use_the_cpu()  # which the file will be run on
    with whole_file("--output", output) as unfinished:
        with writing("--output", output):
            unfinished.touch()  # before what takes minutes
        weights = source.fetch()
        assert weights is not None
        restored = RestoredModel.of(weights)
        labels = restored.labels
        hyperparameters = read_as_trained(restored.hyperparameters, given)
        most = hyperparameters.max_detections or MAX_DETECTIONS
        dataset = None
        if data is not None:
            dataset, _ = load_channel("--data", data, labels, hyperparameters, sample_bits=restored.sample_bits)
        if dataset is not None and not len(dataset.boxes):
            raise UserError(
                f"--data: {str(data)!r} has no box to find, so that nothing can be compared; expected a channel with "
                "labelled objects"
            )
        reference = saved_model_detect(Predictor(model).pixels) if dataset is not None else None
        detector = restored.detector()
        if format == "onnx":
            content = convert_onnx(detector, labels.names, max_detections=most)
        else:
            seen = pixels(dataset, CALIBRATION_IMAGES) if dataset is not None else ()
            content = convert_tflite(detector, labels.names, max_detections=most, precision=precision, calibration=seen)
        name = format if format == "onnx" else f"{format} {precision}"
        if dataset is not None and reference is not None:
            exported = onnx_detect(content) if format == "onnx" else TFLiteDetector(content, detector.base)
            result = compare(dataset, reference, exported)
            print(result.table(name))
            if result.loss > max_loss:
                way_out = "take float16, calibrate on other images, or" if precision == "int8" else "report it, or"
                raise UserError(
                    f"--output: {str(output)!r} is not written: as {name} the model loses {result.loss:.4f} of mean "
                    f"average precision on {str(data)!r}, more than --max-loss {max_loss:g}; {way_out} raise --max-loss"
                )
        with writing("--output", output):
            unfinished.write_bytes(content)
    told = "" if dataset is not None else "; not compared with the SavedModel: give a channel as --data"
    print(f"{output}: {detector.base.name} as {name}, {len(content) / 1e6:.1f} MB{told}")


def _checked(model: Path, output: Path, format: str, precision: str, data: Path | None) -> Source:
    """Where the model is. Raises a UserError with everything that is wrong."""
    problems, source = list[str](), None
    try:
        source = source_at(str(model), f"--model {model}", MODEL_WAYS)
    except UserError as error:
        problems += error.problems
    if format == "onnx" and precision != "float32":
        problems.append(f"--precision: got {precision!r} with --format onnx; expected float32: leave it out")
    if precision == "int8" and data is None:
        problems.append("--data: is missing; --precision int8 looks at its images to know what values the layers have")
    if data is not None and (problem := channel_problem(data, "images in images/ and their boxes in annotations.json")):
        problems.append(f"--data: {problem}")
    if os.path.lexists(output):
        problems.append(f"--output: {str(output)!r} exists; expected a new name, or remove it")
    if problems or source is None:
        raise UserError(problems)
    return source
