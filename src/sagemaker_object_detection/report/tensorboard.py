"""Event files for TensorBoard: the figures of every epoch as they come, and the worst images at the end.

TensorFlow's own `tf.summary.scalar` needs the `tensorboard` package, which nothing else here does: records are written
as the protocol buffers they are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from sagemaker_object_detection.guard import optional
from sagemaker_object_detection.report.metrics_file import epoch_figures
from sagemaker_object_detection.report.pictures import Picture
from sagemaker_object_detection.training.progress import Epoch

_SUFFIX = ".detection"
"""Tells our event files from those that others may have put there."""
_WHAT, _CONSOLATION = "TensorBoard's event files", "the job goes on without them"


class TensorBoard:
    """Writes event files. What goes wrong costs one warning, and then it writes no more.

    Args:
        folder: where they go; None: nowhere. Those of an earlier run are replaced.
        epochs: those that an earlier run finished.
    """

    def __init__(self, folder: Path | None, epochs: Sequence[Epoch] = ()) -> None:
        self._writer: Any = None
        if folder is not None:
            with optional(_WHAT, _CONSOLATION):
                folder.mkdir(parents=True, exist_ok=True)
                for earlier in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
                    earlier.unlink()
                self._writer = tf.summary.create_file_writer(str(folder), filename_suffix=_SUFFIX)
        for epoch in epochs:
            self.write(epoch)

    def write(self, epoch: Epoch) -> None:
        """The scalars of an epoch that is finished; they are in the file when this returns."""
        self._record(
            epoch.number,
            [tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(epoch).items()],
        )

    def write_pictures(self, epoch: int, pictures: Sequence[Picture]) -> None:
        """The pictures, worst first, as images of an epoch."""
        values = []
        for number, picture in enumerate(pictures, 1):
            width, height = picture.image.size
            image = tf.compat.v1.Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=picture.encoded("PNG")
            )
            values.append(tf.compat.v1.Summary.Value(tag=f"worst images/{number}: {picture.file_name}", image=image))
        self._record(epoch, values)

    def _record(self, step: int, values: Sequence[Any]) -> None:
        if self._writer is None or not values:
            return
        writer, self._writer = self._writer, None  # until all went well
        with optional(_WHAT, _CONSOLATION), writer.as_default():
            tf.summary.experimental.write_raw_pb(tf.compat.v1.Summary(value=values).SerializeToString(), step=step)
            writer.flush()
            self._writer = writer


def _scalars(epoch: Epoch) -> dict[str, float]:
    """Values of `metrics.json` by tag; TensorBoard groups them by what stands before the slash."""
    figures = epoch_figures(epoch)
    of_training, of_validation = ("loss", "samples_per_second", "regularization"), ("dead_channels", "spread")
    groups = {
        "train": {name: figures.get(name) for name in of_training},
        "gradient": figures.get("gradients", {}),
        "movement": figures.get("movement", {}),
        "validation": {**{name: figures.get(name) for name in of_validation}, **figures.get("validation", {})},
        "AP": {name: values["mAP"] for name, values in figures.get("per_class", {}).items()},
    }
    return {f"{group}/{name}": v for group, all_ in groups.items() for name, v in all_.items() if v is not None}
