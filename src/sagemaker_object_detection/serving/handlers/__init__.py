"""A user's own script that answers requests, as SageMaker's TensorFlow Serving container runs it."""
