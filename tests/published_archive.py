#!/usr/bin/env python3
"""Writes an archive as the Model Garden publishes them, with random weights: `python published_archive.py ARCHIVE`."""

import sys
import tarfile
import tempfile
from pathlib import Path


def write_archive(archive: Path, name: str = ".", seed: int = 11) -> None:
    """The archive of the default base model.

    Args:
        name: the folder inside the archive.
        seed: of the weights.
    """
    import tensorflow as tf

    from sagemaker_object_detection.catalogue import DEFAULT_MODEL
    from sagemaker_object_detection.models.detector import build_detector
    from sagemaker_object_detection.weights.model_garden import checkpoint_variables

    variables = checkpoint_variables(build_detector(DEFAULT_MODEL, 90, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        checkpoint.mkdir()
        tf.raw_ops.SaveV2(
            prefix=str(checkpoint / "ckpt-0"),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[tf.convert_to_tensor(variable) for variable in variables.values()],
        )
        with tarfile.open(archive, "w:gz") as opened:
            opened.add(folder, name)


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]))
