"""Requests that start this container on SageMaker, and following what they started. The container never imports it."""
