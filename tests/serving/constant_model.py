"""An artifact without a network, for the tests of what reads one: it answers with the image's own size and colour."""

import json
from pathlib import Path

import tensorflow as tf

from sagemaker_object_detection.artifact.inference import LABELS_FILE, SIGNATURE
from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.images.decoding import decode
from sagemaker_object_detection.images.exif import exif_orientation

LABELS = ["cat", "dog"]


class ColourModel(tf.Module):
    """Two detections in every image: of class 1 with the mean of red as its score and width / 1000 as its xmax, and of
    class 2 with half of that score, over everything. So each answer tells which image it belongs to.

    Args:
        share: what scores are multiplied by, which tells models apart.
    """

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share = tf.Variable(share)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def seen(contents: tf.Tensor) -> tf.Tensor:
            pixels = tf.cast(decode(contents, exif_orientation(contents)), tf.float32)
            return tf.stack([tf.reduce_mean(pixels[..., 0]) / 255.0, tf.cast(tf.shape(pixels)[1], tf.float32) / 1000.0])

        red, width = tf.unstack(tf.map_fn(seen, image_bytes, tf.float32), axis=1)
        none, all_ = tf.zeros_like(red), tf.ones_like(red)
        boxes = tf.stack([tf.stack([none, none, all_, width], 1), tf.stack([none, none, all_, all_], 1)], 1)
        scores = tf.stack([red, red / 2.0], 1) * self.share
        return {
            "detection_boxes": boxes,
            "detection_scores": scores,
            "detection_classes": tf.stack([all_, all_ * 2.0], 1),
            "num_detections": all_ * 2.0,
            "detection_multiclass_scores": tf.repeat(scores[..., None], 3, axis=2),
        }


def save_model(folder: Path, share: float = 1.0) -> Path:
    """Writes the artifact into `folder`."""
    module = ColourModel(share)
    tf.saved_model.save(module, str(folder / "1"), signatures={SIGNATURE: module.detect})
    info = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": LABELS, "category_ids": [7, 42]}
    (folder / LABELS_FILE).write_text(json.dumps({"labels": LABELS, "category_ids": [7, 42]}))
    (folder / "model_info.json").write_text(json.dumps(info))
    return folder
