"""A SageMaker training container that fine-tunes TensorFlow object detectors."""

__version__ = "0.2.0"
