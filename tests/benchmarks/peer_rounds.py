"""Workers of the peers' environment (rounds.py): KerasHub's RetinaNet, and pure decoding and resizing.

    .venv-peers/bin/python tests/benchmarks/peer_rounds.py '{"what": "retinanet", "batch_size": 2, "steps": 2}'

Each line on its standard input takes a round. It imports nothing of this package, which is not installed there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Prepared, serve

CLASSES = 3
BOXES = 5


def prepare(spec: Mapping[str, Any]) -> Prepared:
    return {"retinanet": retinanet, "decode_and_resize": decode_and_resize}[spec["what"]](spec)


def retinanet(spec: Mapping[str, Any]) -> Prepared:
    """Training steps of KerasHub's RetinaNet as its own `compile` sets it up (losses, label encoder, anchors), on a
    fixed batch: ResNet-50 as its preset `retinanet_resnet50_fpn_coco` has it, at random weights; adam."""
    import keras_hub
    import tensorflow as tf
    from flops import forward_flops

    size, batch_size, steps = spec.get("image_size", 640), spec["batch_size"], spec["steps"]
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(size, size, 3),
    )
    backbone = keras_hub.models.RetinaNetBackbone(
        encoder, min_level=3, max_level=7, use_p5=False, image_shape=(size, size, 3)
    )
    model = keras_hub.models.RetinaNetObjectDetector(backbone, CLASSES, bounding_box_format="yxyx", preprocessor=None)
    model.compile(optimizer="adam", box_loss="auto", classification_loss="auto")
    random = np.random.default_rng(0)
    images = tf.constant(random.uniform(-1.0, 1.0, (batch_size, size, size, 3)), tf.float32)
    corners = np.sort(random.uniform(0.0, size, (batch_size, BOXES, 2, 2)), axis=2)
    truth = {
        "boxes": tf.constant(corners.reshape(batch_size, BOXES, 4), tf.float32),
        "labels": tf.constant(random.integers(0, CLASSES, (batch_size, BOXES)), tf.float32),
    }
    step = tf.function(model.train_step)

    def take() -> int:
        for _ in range(steps):
            logs = step((images, truth))
        float(logs["loss"])
        return int(steps * batch_size)

    facts = {
        "flops": forward_flops(lambda x: model(x, training=False), batch_size, size),
        "parameters": model.count_params(),
        "versions": f"KerasHub {keras_hub.__version__}, TensorFlow {tf.__version__}",
    }
    return Prepared(take, facts)


def decode_and_resize(spec: Mapping[str, Any]) -> Prepared:
    """libjpeg-turbo's decoder (accurate DCT, smooth upsampling, as ours) and OpenCV's bilinear resizing to uint8, on
    one thread, from bytes in memory."""
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)
    files = [path.read_bytes() for path in sorted(Path(spec["images"]).iterdir())]
    target = (spec["size"], spec["size"])

    def take() -> int:
        for number in range(spec["count"]):
            pixels = simplejpeg.decode_jpeg(files[number % len(files)], "RGB")
            cv2.resize(pixels, target, interpolation=cv2.INTER_LINEAR)
        return int(spec["count"])

    facts = {"versions": f"simplejpeg {simplejpeg.__version__}, OpenCV {cv2.__version__}"}
    return Prepared(take, facts)


if __name__ == "__main__":
    serve(prepare)
