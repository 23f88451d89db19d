"""The command line: one verb per thing a person does with the image. Errors become exit codes in guard.py."""

import sys

from sagemaker_object_detection.job.stop import (
    GRACE_SECONDS,
    SERVER_GRACE_SECONDS,
    TERMINATED,
    StoppedError,
    StopSignal,
)
from sagemaker_object_detection.job.streams import LogHandler, open_standard_streams

if __name__ == "__main__":
    open_standard_streams()  # before anything else is opened
    if sys.argv[1:2] in (["train"], ["serve"]):
        # Before the imports that take their time: process 1 never hears of a signal that it does not handle, and any
        # other process dies of it. What follows has a StopSignal of its own, which begins with what this one has seen.
        grace = SERVER_GRACE_SECONDS if sys.argv[1] == "serve" else GRACE_SECONDS
        StopSignal(grace, last_resort=True).__enter__()
    # Keras imports matplotlib where there is one: most of a second, and a warning where nobody may write to the home.
    # Nothing needs it before the report, which takes this back (report/charts.py).
    sys.modules["matplotlib"] = None  # type: ignore[assignment]

import argparse
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_object_detection import __version__
from sagemaker_object_detection.errors import AlgorithmError, JobError, UserError
from sagemaker_object_detection.guard import leave, run_guarded
from sagemaker_object_detection.job.claim import RootError, claimed
from sagemaker_object_detection.job.config import read_job
from sagemaker_object_detection.job.failure import exit_code, failure_text, write_failure, write_message
from sagemaker_object_detection.job.metrics import without_metrics
from sagemaker_object_detection.job.paths import Paths
from sagemaker_object_detection.sentences import as_lines

log = logging.getLogger("sagemaker_object_detection")

_MIN_SCORE = 0.3
_NO_EVALUATION = "Stopped by a signal: there is no evaluation."
UNANSWERED = 4
"""Of `predict`: some images could not be answered, and all others were."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0 done, 1 our fault, 2 the user can fix it, 3 the platform's fault, 4
    some images have no answer (`predict`)."""
    options = _parser().parse_args(arguments)
    _log_to_stdout(quiet=options.verb in ("check", "describe", "export", "predict"))
    # Quietens most of TensorFlow's C++ side; what it says before it reads this variable cannot be helped.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def tell(error: Exception) -> None:
        if isinstance(error, JobError):
            log.error("%s", error)
        else:  # where it happened matters to whom it is reported to, not to whom the disk was too small for
            log.error("%s", failure_text(error), exc_info=exit_code(error) == AlgorithmError.exit_code)
        if options.verb == "train" and not isinstance(error, RootError):
            write_failure(Paths.find(options.root).failure, error)
        if options.verb == "evaluate" and os.path.isdir((paths := Paths.find(options.root)).processing):
            write_failure(paths.exit_message, error)

    return run_guarded(lambda: options.run(options), tell, prints=options.verb not in ("train", "serve", "evaluate"))


def _train(options: argparse.Namespace) -> None:
    paths = Paths.find(options.root)
    with claimed(paths):
        job = read_job(paths)
        if job.script is not None:
            from sagemaker_object_detection.script_mode.supervisor import run_script

            run_script(job, job.script)
        else:
            from sagemaker_object_detection.train import train

            train(job)


def _check(options: argparse.Namespace) -> int:
    from sagemaker_object_detection.check import check

    result = check(Paths.find(options.root))
    print(result.as_json() if options.json else result.as_text())
    return 2 if result.problems else 0


def _evaluate(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.evaluate import Places, evaluate

    usual = Places.below(Paths.find(options.root))
    places = Places(options.model or usual.model, options.data or usual.data, options.output or usual.output)
    try:
        evaluate(places, _reading(options))
    except StoppedError:
        log.warning(_NO_EVALUATION)
        if os.path.isdir((paths := Paths.find(options.root)).processing):
            write_message(paths.exit_message, _NO_EVALUATION)
        raise


def _reading(options: argparse.Namespace) -> dict[str, str]:
    """The hyperparameters that were given and say how a channel is read."""
    given = {name: getattr(options, name) for name in ("bbox_format", "invalid_boxes", "invalid_images")}
    return {name: text for name, text in given.items() if text is not None}


def _describe(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.describe import describe_json, describe_markdown

    if options.format == "json":
        print(json.dumps(describe_json(built_in_ranges=options.ranges == "built-in"), indent=2))
    else:
        print(describe_markdown())


def _predict(options: argparse.Namespace) -> int:
    from sagemaker_object_detection.serving.image_files import SUFFIXES
    from sagemaker_object_detection.serving.predict import predict_files
    from sagemaker_object_detection.serving.whole_files import lines_to

    if options.output is not None and options.output.suffix.lower() in SUFFIXES:  # `--output *.jpg` would lose one
        raise UserError(f"--output: {str(options.output)!r} is called like an image; expected a name for the results")
    failures: list[str] = []
    lines = predict_files(
        options.model,
        options.images,
        options.draw,
        options.min_score if options.min_score is not None else _MIN_SCORE if options.threshold is None else 0.0,
        threshold=options.threshold,
        format=options.format,
        annotations=options.annotations,
        failed=failures.append,
    )
    # As Ctrl-C does: what is half written is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    with lines_to("--output", options.output) as write:
        for line in lines:
            write(line)
    if failures:
        log.error("%s", UserError(failures))
    return UNANSWERED if failures else 0


def _threshold(text: str) -> float | str:
    return text if text == "auto" else _score(text, "a number from 0 to 1, or auto")


def _score(text: str, expected: str = "a number from 0 to 1") -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected {expected}")
    return score


def _serve(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.serving.server import serve

    serve(options.model or Paths.find(options.root).model, options.port)


def _export(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.runtimes.export_model import export_model

    # As Ctrl-C does: what is half written is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))
    export_model(
        options.model,
        options.output,
        options.format,
        precision=options.precision,
        data=options.data,
        max_loss=options.max_loss,
        given=_reading(options),
    )


def _fetch_weights(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.fetch_weights import fetch_weights

    fetch_weights(options.models, options.to, options.address)


def _sample_data(options: argparse.Namespace) -> None:
    from sagemaker_object_detection.sample_data import write_sample_data

    write_sample_data(
        options.folder, images=options.images, seed=options.seed, validation_images=options.validation_images
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sagemaker-object-detection", description="Fine-tunes TensorFlow object detectors, as SageMaker runs it."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(verb: str, run: Callable[[argparse.Namespace], int | None], **options: Any) -> argparse.ArgumentParser:
        added = verbs.add_parser(verb, **options)
        added.set_defaults(run=run)
        return added

    rooted = argparse.ArgumentParser(add_help=False)
    rooted.add_argument(
        "--root", help="the folder that stands for /opt/ml (default: $SAGEMAKER_BASE_DIR, else /opt/ml)"
    )

    add("train", _train, parents=[rooted], help="run the job whose files lie below the root")

    check = add("check", _check, parents=[rooted], help="validate hyperparameters and data without training")
    check.add_argument("--json", action="store_true", help='print {"hyperparameters": {...}, "anchors": [...], ...}')

    describe = add("describe", _describe, help="print hyperparameters, metrics, channels and the CreateAlgorithm call")
    describe.add_argument("--format", choices=("json", "markdown"), default="markdown")
    describe.add_argument(
        "--ranges",
        choices=("recommended", "built-in"),
        default="recommended",
        help="of a tuning job, in JSON; the tables show both",
    )

    reading = argparse.ArgumentParser(add_help=False)
    for name in ("bbox-format", "invalid-boxes", "invalid-images"):
        reading.add_argument(f"--{name}", help="as the hyperparameter (default: as the model's own job had it)")

    evaluate = add(
        "evaluate",
        _evaluate,
        parents=[rooted, reading],
        help="measure a trained model on a labelled channel, also as a SageMaker Processing job",
    )
    evaluate.add_argument(
        "--model",
        type=Path,
        help="the model directory, its model.tar.gz or a folder with that (default: processing/model below the root)",
    )
    evaluate.add_argument(
        "--data",
        type=Path,
        metavar="CHANNEL",
        help="a folder with annotations.json and images/ (default: processing/test below the root)",
    )
    evaluate.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="gets evaluation.json, images.jsonl, report.html and data_report.json (default: processing/evaluation "
        "below the root)",
    )

    predict = add("predict", _predict, help="run a trained model on images, one JSON line each or as COCO results")
    predict.add_argument("--model", type=Path, required=True, help="the model directory that a training job wrote")
    predict.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="JPEG or PNG files, and folders: every such file below them, but names that begin with a dot",
    )
    predict.add_argument("--draw", type=Path, metavar="OUT", help="folder for copies with boxes drawn, or one picture")
    predict.add_argument(
        "--min-score",
        type=_score,
        help=f"draw detections from this score on ({_MIN_SCORE}, or what --threshold leaves); the results have all, "
        "which COCO's figures need",
    )
    predict.add_argument(
        "--threshold",
        type=_threshold,
        metavar="SCORE",
        help="leave out detections with a lower score, in the results too; auto: lower than the model's own threshold "
        "of the class",
    )
    predict.add_argument(
        "--format",
        choices=("jsonl", "coco"),
        default="jsonl",
        help="jsonl (the default): an object in each line, one for each image, boxes normalised. coco: one JSON array "
        "of COCO results, boxes [x, y, width, height] in pixels, category ids as in the training data",
    )
    predict.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="with --format coco: annotations.json of a channel, or a COCO file, whose images have the ids that the "
        "results are to refer to, by file_name: the path below the folder that is given, or the plain name of a file. "
        "Without it the id is the path",
    )
    predict.add_argument("--output", type=Path, metavar="FILE", help="where the results go once all are there (stdout)")

    serve = add("serve", _serve, parents=[rooted], help="answer images over HTTP, as SageMaker hosts models")
    serve.add_argument("--model", type=Path, help="the model directory (default: model/ below the root)")
    serve.add_argument("--port", type=int, help="default: $SAGEMAKER_BIND_TO_PORT, else 8080; 0 takes a free one")

    export = add("export", _export, parents=[reading], help="write a trained model as TensorFlow Lite or ONNX")
    export.add_argument(
        "--model",
        type=Path,
        required=True,
        help="the model directory that a training job wrote, or its model.tar.gz",
    )
    export.add_argument("--format", choices=("tflite", "onnx"), required=True)
    export.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="of tflite: float16 halves the file, int8 quarters it and computes in integers (float32)",
    )
    export.add_argument(
        "--data",
        type=Path,
        metavar="CHANNEL",
        help="folder of a labelled channel, on which the file is compared with the SavedModel, and int8 is calibrated",
    )
    export.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file")
    export.add_argument(
        "--max-loss",
        type=_score,
        default=0.02,
        help="of mean average precision: if the file loses more, it is not written (0.02)",
    )

    fetch = add("fetch-weights", _fetch_weights, help="put base models' weights into a folder, for an image")
    fetch.add_argument("models", nargs="+", metavar="MODEL_ID", help='ids or short names, or "all"')
    fetch.add_argument("--to", type=Path, required=True, metavar="DIR", help="gets a subfolder for each model")
    fetch.add_argument(
        "--from",
        dest="address",
        metavar="ADDRESS",
        help="where a single model's weights lie, if not where they are published",
    )

    sample = add("sample-data", _sample_data, help="write a small synthetic data set in the built-in's format")
    sample.add_argument("folder", type=Path)
    sample.add_argument("--images", type=int, default=240, help="training images (default 240)")
    sample.add_argument("--validation-images", type=int, default=48, help="validation images (default 48)")
    sample.add_argument("--seed", type=int, default=0)
    return parser


class _Format(logging.Formatter):
    """Information bare, as the metric regexes and the built-in's log have it; anything worse says what it is."""

    def format(self, record: logging.LogRecord) -> str:
        text = without_metrics(as_lines(super().format(record)))
        return text if record.levelno == logging.INFO else f"{record.levelname}: {text}"


def _log_to_stdout(*, quiet: bool) -> None:
    """Everything to stdout, where SageMaker reads; for verbs whose output is data, only warnings, to stderr."""
    handler = LogHandler(sys.stderr if quiet else sys.stdout)
    handler.setFormatter(_Format())
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False  # TensorFlow gives the root logger a handler of its own, which would say everything twice.


if __name__ == "__main__":
    code = main()
    if sys.argv[1:2] in (["train"], ["serve"]):
        leave(code)
    sys.exit(code)
