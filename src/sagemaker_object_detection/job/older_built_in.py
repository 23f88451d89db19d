"""Jobs of SageMaker's older built-in algorithm, *Object Detection - MXNet*, and what corresponds to their settings."""

from collections.abc import Iterable, Mapping

_CORRESPONDS: Mapping[str, str] = {
    "base_network": "model_id",
    "mini_batch_size": "batch_size",
    "weight_decay": "regularizers_l2",
    "early_stopping_tolerance": "early_stopping_min_delta",
    "lr_scheduler_step": "learning_rate_schedule",
    "lr_scheduler_factor": "learning_rate_schedule",
    "use_pretrained_model": "pretrained_weights (auto, or none for 0)",
    "freeze_layer_pattern": "train_only_on_top_layer",
    "num_classes": "nothing: the classes are those of annotations.json",
    "num_training_samples": "nothing: the images are counted",
    "image_shape": "nothing: model_id has its input size in its name",
    "label_width": "nothing: an image may have any number of boxes",
    "overlap_threshold": "nothing: it is 0.5",
    "nms_threshold": "nothing: it is the base model's",
    "early_stopping_min_epochs": "nothing",
    "kv_store": "nothing: hosts and GPUs train in step",
    "checkpoint_frequency": "nothing: every epoch is kept",
}
"""The names that only that algorithm has; epochs, learning_rate, momentum and the others mean the same."""
_CHANNELS: Mapping[str, str] = {
    "train": "training, with the images in images/",
    "train_annotation": "annotations.json in training",
    "validation_annotation": "annotations.json in validation",
}
_ALONE = frozenset({"base_network", "freeze_layer_pattern", "label_width", "nms_threshold", "overlap_threshold"})
"""The others are Image Classification's as well."""
_ENOUGH = 2
"""Names that tell such a job, one of which is `_ALONE` or a channel."""


def recognise(hyperparameters: Iterable[str], channels: Iterable[str]) -> tuple[frozenset[str], str] | None:
    """The names of a job that are that algorithm's alone, and one problem that says what corresponds to each.

    None if it is no such job.
    """
    values = [name for name in hyperparameters if name in _CORRESPONDS]
    folders = [name for name in channels if name in _CHANNELS]
    if len(values) + len(folders) < _ENOUGH or not (folders or _ALONE.intersection(values)):
        return None
    lines = [
        "this is a job of the built-in Object Detection - MXNet, and this container stands in for Object Detection - "
        "TensorFlow: its data is images/ and one annotations.json. RecordIO files and a JSON file for each image are "
        "not read: scripts/convert_dataset.py writes annotations.json from what they were made of (COCO, Pascal VOC, "
        "YOLO, Ground Truth). Rename or remove these:",
        *(f"    hyperparameter {name} -> {_CORRESPONDS[name]}" for name in values),
        *(f"    channel {name} -> {_CHANNELS[name]}" for name in folders),
    ]
    return frozenset(values) | frozenset(folders), "\n".join(lines)
