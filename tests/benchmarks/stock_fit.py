"""What a user would write to fine-tune the same network with Keras alone: one step of `fit` on arrays in memory.

    python tests/benchmarks/stock_fit.py MODEL BATCH_SIZE

speed.py takes the time from the start of this process to its end. The network is the one of the base model in stock
Keras layers, the losses are Keras's own on targets that are there already.
"""

import sys

import keras
import numpy as np
import stock_network
from keras import ops

from sagemaker_object_detection import catalogue

CLASSES = 3


def box_loss(targets: object, encodings: object) -> object:
    return ops.sum(keras.losses.huber(targets, encodings))


def class_loss(targets: object, logits: object) -> object:
    return ops.sum(
        keras.losses.binary_focal_crossentropy(targets, logits, apply_class_balancing=True, from_logits=True)
    )


def main() -> None:
    base, batch_size = catalogue.find(sys.argv[1]), int(sys.argv[2])
    assert base is not None
    detector = stock_network.build(base, CLASSES, stock=True)
    images = keras.Input((base.input_size, base.input_size, 3))
    model = keras.Model(images, list(detector(images)))
    model.compile(optimizer="adam", loss=[box_loss, class_loss])
    pictures = np.random.default_rng(0).uniform(-1.0, 1.0, (batch_size, *images.shape[1:])).astype(np.float32)
    targets = [np.zeros((batch_size, *output.shape[1:]), np.float32) for output in model.outputs]
    model.fit(pictures, targets, batch_size=batch_size, epochs=1, verbose=0)
    print("[Epoch 0] is done", flush=True)


if __name__ == "__main__":
    main()
