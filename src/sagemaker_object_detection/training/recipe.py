"""The recipe of a job: what each hyperparameter that is left to Auto comes to, and why.

What the user sets stands. A job that goes on from a checkpoint goes on as it began, whatever Auto would come to now.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagemaker_object_detection.catalogue import BaseModel
from sagemaker_object_detection.hyperparameters.kinds import AUTO, Value
from sagemaker_object_detection.hyperparameters.read import Hyperparameters
from sagemaker_object_detection.hyperparameters.table import FINE_TUNING, MAX_DETECTIONS, PLAIN, ROWS

log = logging.getLogger(__name__)

FEW_IMAGES_PER_REPLICA = 32
"""Below this, freeze_batch_norm "Auto" freezes loaded statistics: frozen was better at 2 to 16 (tests/benchmarks)."""
WORTHWHILE_STEPS = 5000
"""Steps from which XLA compiles a GPU's. Compiling takes a minute or more. A step is thousands of operations, each of
which takes some 10 microseconds to start on a GPU; compiled, it is hundreds. Nobody has measured this on a GPU yet."""
ENOUGH_PASSES = 20
"""Over the images in the whole job, after which three hundred were learned (tests/benchmarks/fine_tuning.py)."""
LEAST_STEPS, MOST_STEPS = 1000, 2000
"""Steps that are wanted whatever that comes to: the smallest sets learned for so long, and time is money."""
LARGE_BATCH = 8
"""Images, from which on fewer steps are enough."""
DETECTION_LIMITS = (100, 200, 300, 500, 1000)
"""What max_detections "Auto" may come to. Few, so that two splits of a data set have the same."""
ROOM_FOR_DETECTIONS = 1.5
"""Times the objects of the fullest image. Below 1 objects are lost for certain; of what is found a part is wrong, and
takes the place of what is right but scored lower."""


@dataclass(frozen=True)
class Situation:
    """What Auto depends on.

    Attributes:
        loaded: whether training starts from trained weights.
        origin: where the weights came from.
        images: of the training set.
        objects: of the image that has most of them, in training and validation.
        replicas: devices that divide a batch.
        objective: key of the figure that chooses the best epoch.
        new_top_layer: whether the class predictor starts anew.
        number_format: Keras's dtype policy.
        gpu: whether there is one.
    """

    base: BaseModel
    loaded: bool
    origin: str
    images: int
    objects: int
    replicas: int
    objective: str
    new_top_layer: bool
    number_format: str
    gpu: bool


def settle(given: Hyperparameters, situation: Situation, in_force: Mapping[str, str]) -> Hyperparameters:
    """The hyperparameters without Auto; says once what each that was left to it came to.

    Args:
        in_force: what they came to when the job began, as text by name, if it goes on from a checkpoint.
    """
    settled, found = replace(given.for_model(situation.base), pretrained_weights=situation.origin), []
    changes: dict[str, Any]
    for row in ROWS:
        if row.default != AUTO or getattr(given, row.name) not in (None, AUTO):
            continue
        if row.name in in_force:
            value, why = row.kind.parse(in_force[row.name]), "as the checkpoint has it"
        elif row.by_recipe is not None:
            text = row.by_recipe[settled.recipe != FINE_TUNING]
            value, why = row.kind.parse(text), f"recipe {settled.recipe}"
        else:
            value, why = _RULES[row.name](settled, situation)
        changes = {row.name: value}
        settled = replace(settled, **changes)
        if row.name in settled.effective():
            found.append(f"{row.name} {_shown(value)} ({why})")
    if found:
        log.info("What Auto came to: %s.", "; ".join(found))
    assert settled.max_detections is not None
    if (lost := told_of_lost_objects(settled.max_detections, situation.objects)) is not None:
        log.warning("%s", lost)
    unused = settled.resolved().keys() - settled.effective().keys()
    changes = {
        row.name: row.used_when.otherwise
        for row in ROWS
        if row.name in unused and row.used_when and row.used_when.otherwise is not None
    }
    return replace(settled, objective=situation.objective, **changes)


def _recipe(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    if settled.train_only_on_top_layer:
        return PLAIN, "nothing that was loaded is trained"
    return (FINE_TUNING, "trained weights are fine-tuned") if situation.loaded else (PLAIN, "from random weights")


def _passes(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    if settled.recipe != FINE_TUNING:
        return 1, f"recipe {settled.recipe}"
    assert settled.epochs is not None
    pass_steps = situation.images / settled.batch_size
    large = min(1.0, LARGE_BATCH / settled.batch_size)
    wanted = min(max(ENOUGH_PASSES * pass_steps, LEAST_STEPS * large), MOST_STEPS * large)
    steps = settled.epochs * pass_steps
    passes = max(1, round(wanted / steps))
    return passes, f"one pass makes {steps:.0f} steps in {settled.epochs} epochs, of some {wanted:.0f} that are wanted"


def _freeze_batch_norm(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    if not situation.loaded:
        return False, "from random weights"
    images = settled.batch_size / situation.replicas
    few = images < FEW_IMAGES_PER_REPLICA
    return few, f"{images:g} images on a device, which is {'below' if few else 'not below'} {FEW_IMAGES_PER_REPLICA}"


def _reinitialize_top_layer(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    why = "a model of this container" if not situation.new_top_layer else "the weights are of other classes"
    return situation.new_top_layer, why if situation.loaded else "from random weights"


def _max_detections(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    return enough_detections(situation.objects), f"an image has {situation.objects} objects at most"


def enough_detections(objects: int) -> int:
    """What max_detections "Auto" comes to, for so many objects in the fullest image."""
    wanted = ROOM_FOR_DETECTIONS * objects
    return next((limit for limit in DETECTION_LIMITS if limit >= wanted), MAX_DETECTIONS)


def told_of_lost_objects(limit: int, objects: int) -> str | None:
    """What to say where the fullest image has more objects than there may be detections; None where it has not."""
    if limit >= objects:
        return None
    return (
        f"max_detections is {limit}, but an image holds {objects} objects: no more than {limit} of them can be found. "
        f"{_more_room(limit, objects)}."
    )


def _more_room(limit: int, objects: int) -> str:
    """What to do about an image of more objects than there may be detections."""
    if limit == MAX_DETECTIONS:
        return "Cut the images into tiles"
    enough = f"{objects} or more" if objects <= MAX_DETECTIONS else str(MAX_DETECTIONS)
    return f"Set it to {enough}, or cut the images into tiles"


def _mixed_precision(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    return situation.number_format != "float32", situation.number_format


def _xla(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    steps = total_steps(settled, situation.images)
    if not situation.gpu:
        return False, "no GPU"
    return steps >= WORTHWHILE_STEPS, f"{steps} steps, {WORTHWHILE_STEPS} are worth the minute it takes"


def _objective(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    return situation.objective, "that of the tuning job, else mAP where there are boxes to find"


def _bbox_format(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    return "xyxy", "which the boxes of an annotations.json were held against"


def _split_by(settled: Hyperparameters, situation: Situation) -> tuple[Value, str]:
    return "group", "a copy of a training image measures nothing"


_Rule = Callable[[Hyperparameters, Situation], tuple[Value, str]]
"""Of hyperparameters, in which those before it in the table are settled: a value, and why."""
_RULES: dict[str, _Rule] = {
    "recipe": _recipe,
    "passes_per_epoch": _passes,
    "freeze_batch_norm": _freeze_batch_norm,
    "reinitialize_top_layer": _reinitialize_top_layer,
    "split_by": _split_by,
    "objective": _objective,
    "bbox_format": _bbox_format,
    "max_detections": _max_detections,
    "mixed_precision": _mixed_precision,
    "xla": _xla,
}


def steps_per_epoch(settled: Hyperparameters, images: int) -> int:
    """So many that every image is drawn as often as the epoch has passes."""
    assert settled.passes_per_epoch is not None
    return math.ceil(settled.passes_per_epoch * images / settled.batch_size)


def total_steps(settled: Hyperparameters, images: int) -> int:
    """Of the whole job, so that one that is restarted comes to the same."""
    assert settled.epochs is not None
    return settled.epochs * steps_per_epoch(settled, images)


def recorded(settled: Hyperparameters, base: BaseModel) -> dict[str, Value]:
    """Value by name, for what is kept of a job: also what the base model's own L2 coefficient is."""
    own, backbone = base.family.l2, base.family.backbone_l2
    l2: Value = own if own == backbone else f"{backbone:g} in the backbone, {own:g} elsewhere"
    return settled.resolved() | ({"regularizers_l2": l2} if settled.regularizers_l2 is None else {})


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
