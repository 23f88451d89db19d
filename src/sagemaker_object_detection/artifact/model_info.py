"""`model_info.json`: what a model is, how it was made and how good it was. Written last, it marks a whole model."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from sagemaker_object_detection import __version__, catalogue
from sagemaker_object_detection.artifact.inference import class_thresholds
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.dataset.annotations import Labels
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files import strict_json
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.files.whole import whole_file
from sagemaker_object_detection.hyperparameters.kinds import written
from sagemaker_object_detection.hyperparameters.read import read_what_is_right
from sagemaker_object_detection.images.headers import SAMPLE_BITS
from sagemaker_object_detection.sentences import is_printable, printable, quoted, shown
from sagemaker_object_detection.weights.tree import ARTIFACT_MARK, MAX_MARK_BYTES

FILE_NAME = ARTIFACT_MARK
FORMAT = 1
"""Raised when a reader of the old files would misread the new ones."""
_DECIMALS = 10**6


@dataclass(frozen=True)
class ModelInfo:
    """What incremental training and serving need to know of an artifact."""

    base: BaseModel
    labels: Labels
    sample_bits: int = SAMPLE_BITS
    """How many of the 16 bits of a sample its signature `encoded_images` takes for used."""
    thresholds: tuple[float, ...] | None = None
    """The score threshold of each class; None where the model has none."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """As the job ran with them, without Auto."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of each data set the job read, by channel."""

    @property
    def max_detections(self) -> int | None:
        """Those of an image at most; None if the file does not say, as those of earlier versions."""
        recorded = self.hyperparameters.get("max_detections")
        values, _ = read_what_is_right({} if recorded is None else {"max_detections": written(recorded)})
        return values.max_detections


class _Written(msgspec.Struct):
    """What every format has."""

    format: int
    base_model: str
    versions: dict[str, str] = {}


class _WrittenNow(_Written, kw_only=True):
    labels: list[str]
    category_ids: list[int | str]
    sample_bits: Annotated[int, msgspec.Meta(ge=8, le=SAMPLE_BITS)] = SAMPLE_BITS
    score_thresholds: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] | None = None
    hyperparameters: dict[str, Any] = {}
    data_fingerprints: dict[str, str] = {}


def model_info(
    base: BaseModel,
    labels: Labels,
    *,
    hyperparameters: Mapping[str, object],
    weights: Mapping[str, str],
    fingerprints: Mapping[str, str],
    epoch: int | None,
    metrics: Mapping[str, float],
    per_class: Mapping[str, Mapping[str, float]] | None = None,
    sample_bits: int = SAMPLE_BITS,
) -> dict[str, Any]:
    """The content of the file.

    Args:
        base, labels: what the model is.
        hyperparameters: as the job ran with them, without Auto.
        weights: "origin" and "fingerprint" of what training started from.
        fingerprints: of each data set the job read, by channel.
        epoch: whose weights these are, 0-based; None for a first epoch that a stop cut short.
        metrics: of those weights, by the keys of `job.metrics`; empty where nothing was validated.
        per_class: mAP and mAP_50 of each class, by its name; likewise.
        sample_bits: how many bits the samples of images of 16 bits used.
    """
    return {
        "format": FORMAT,
        "base_model": base.name,
        "base_model_id": base.model_id,
        "input_size": base.input_size,
        "labels": list(labels.names),
        "category_ids": list(labels.ids),
        "hyperparameters": dict(hyperparameters),
        "weights": dict(weights),
        "data_fingerprints": dict(fingerprints),
        "epoch": epoch,
        "metrics": dict(metrics),
        "per_class": {name: dict(figures) for name, figures in (per_class or {}).items()},
        "sample_bits": sample_bits,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what computes."""
    import keras  # late, because readers of the file need neither
    import tensorflow as tf

    return {
        "sagemaker-object-detection": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def add_thresholds(info: Mapping[str, Any], thresholds: Mapping[str, float], model: Path) -> None:
    """Writes the file of the model in folder `model` anew, with score thresholds by class name.

    They are rounded down, so that the detection whose score a threshold is reaches it in any server's decimals.
    """
    rounded = {name: math.floor(score * _DECIMALS) / _DECIMALS for name, score in thresholds.items()}
    with whole_file(model / FILE_NAME) as unfinished:
        write_info(unfinished, {**info, "score_thresholds": rounded})


def write_info(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_model_info(model: Path) -> ModelInfo:
    """Reads the file of the model in folder `model`.

    Raises:
        UserError: no such file (half a model, or none), or not one this version can read.
    """
    path = model / FILE_NAME
    try:
        content = strict_json.parse(read_regular(path, MAX_MARK_BYTES))
        json.dumps(content, ensure_ascii=False).encode()  # half a character can stand in no answer and no page
        written = msgspec.convert(content, _Written)
        base = catalogue.find(written.base_model)
        if base is None or written.format != FORMAT:
            raise UserError(
                f"{path}: describes a model {shown(written.base_model)} in format {shown(written.format)}; expected "
                f"format {FORMAT} and one of {', '.join(known.name for known in catalogue.CATALOGUE)}; use the version "
                f"that wrote it, {printable(written.versions.get('sagemaker-object-detection', 'unknown'))}"
            )
        classes = msgspec.convert(content, _WrittenNow)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{model}: holds no {FILE_NAME}; expected the model directory that a training job wrote"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); expected the model directory that a training job wrote, with "
            "files that may be read"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_description(path, str(error)) from error
    ids, names = tuple(classes.category_ids), tuple(classes.labels)
    if not ids or len(names) != len(ids) or len(set(ids)) != len(ids):
        counts = f"{len(names)} labels for {len(ids)} category_ids, {len(set(ids))} of them different"
        raise _no_description(path, counts)
    if broken := [text for text in (*names, *ids) if isinstance(text, str) and not is_printable(text)]:
        raise _no_description(path, f"{quoted(broken[0])} is no name of a class, which has one line")
    thresholds = class_thresholds({"score_thresholds": classes.score_thresholds}, names)
    return ModelInfo(
        base,
        Labels(ids=ids, names=names),
        classes.sample_bits,
        None if thresholds is None else tuple(thresholds),
        classes.hyperparameters,
        classes.data_fingerprints,
    )


def _no_description(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: describes no model ({printable(reason)}); expected the file as a training job wrote it: train "
        "again or restore the file"
    )
