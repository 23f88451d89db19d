"""Which base model some variables belong to, by their shapes: whatever the files beside them say."""

import logging
import re
from collections import Counter

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.files.regular import read_regular
from sagemaker_object_detection.sentences import printable
from sagemaker_object_detection.weights.checkpoint import StoredVariables
from sagemaker_object_detection.weights.tree import Weights

log = logging.getLogger(__name__)

# A kernel's shape, and how often the model has it. Chosen so that no two models' files look alike, and that every model
# has several: a file that lacks some of its variables still looks more like its own model than like any other.
TELLTALES: dict[str, tuple[tuple[int, ...], int]] = {
    "resnet50": ((1, 1, 1024, 256), 6),
    "resnet101": ((1, 1, 1024, 256), 23),
    "resnet152": ((1, 1, 1024, 256), 36),
    "mobilenet_v1": ((1, 1, 512, 512), 5),
    "mobilenet_v2": ((1, 1, 128, 128), 8),
    "efficientnet_b0": ((1, 1, 64, 64), 30),
    "efficientnet_b1": ((1, 1, 88, 88), 38),
    "efficientnet_b2": ((1, 1, 112, 112), 46),
    "efficientnet_b3": ((1, 1, 160, 160), 56),
}
_LIKE_ENOUGH = 0.5
_MAX_CONFIG_BYTES = 2**20
"""The published ones have 5 kB."""


def recognise_variables(stored: StoredVariables) -> tuple[BaseModel, ...]:
    """The base models that a Model Garden file can be of: one architecture, a row for each input size it has.

    That every single variable fits is for `install` to say.

    Raises:
        UserError: the variables are of no base model.
    """
    shapes = Counter(stored.shapes.values())

    def likeness(base: BaseModel) -> float:
        shape, expected = TELLTALES[base.backbone]
        return min(shapes[shape], expected) / max(shapes[shape], expected)

    best = max(catalogue.CATALOGUE, key=likeness)
    if likeness(best) < _LIKE_ENOUGH:
        raise UserError(
            f"{stored.source}: these {len(stored.shapes)} variables are of none of the base models; expected one of "
            f"{', '.join(base.name for base in catalogue.CATALOGUE)}: give the files of one of them"
        )
    return tuple(base for base in catalogue.CATALOGUE if base.stem == best.stem)


def check_architecture(stored: StoredVariables, base: BaseModel, origin: str) -> tuple[BaseModel, ...]:
    """`recognise_variables`, of which `base` has to be one.

    Raises:
        UserError: it is not.
    """
    found = recognise_variables(stored)
    if base.stem != found[0].stem:
        raise UserError(
            f"{origin}: holds the weights of {' or '.join(other.name for other in found)}; expected those of "
            f"{base.name}: name that model, or give the address of this one's weights"
        )
    return found


def choose_size(
    candidates: tuple[BaseModel, ...], weights: Weights, named: BaseModel | None, setting: str = "model_id"
) -> BaseModel:
    """Settles the input size, which the variables do not tell.

    `named` decides; then the address, folder or archive, where it is called like a base model; then the pipeline.config
    beside the weights; then the smaller size.

    Args:
        setting: what named it, or could.

    Raises:
        UserError: `named` is of another architecture.
    """
    told = configured_size(weights)
    if named is not None:
        if named not in candidates:
            hint = f" (beside them, {printable(str(weights.pipeline_config))} speaks of {told} pixels)" if told else ""
            raise UserError(
                f"{setting}: got {named.name!r}, but the variables of {weights.origin} are those of "
                f"{' or '.join(base.name for base in candidates)}{hint}; leave {setting} out or make it agree"
            )
        return named
    if len(candidates) == 1:
        return candidates[0]
    if weights.named_as in candidates:
        return weights.named_as
    for base in candidates:
        if base.input_size == told:
            log.info("Input size %d, as the pipeline.config of %s says.", told, weights.origin)
            return base
    smallest = min(candidates, key=lambda base: base.input_size)
    others = ", ".join(base.name for base in candidates if base is not smallest)
    log.info("Input size %d; for the larger one set %s to %s.", smallest.input_size, setting, others)
    return smallest


def configured_size(weights: Weights) -> int | None:
    """The height of the image resizer in the pipeline.config beside the weights, where there is one to be read."""
    if weights.pipeline_config is None:
        return None
    try:
        text = read_regular(weights.pipeline_config, _MAX_CONFIG_BYTES).decode(errors="replace")
    except OSError:
        return None
    found = re.search(r"image_resizer\s*\{[^{}]*\{[^{}]*?\b(?:height|min_dimension)\s*:\s*(\d{1,6})\b", text, re.ASCII)
    return int(found[1]) if found else None
