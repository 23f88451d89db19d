"""Validation in process: losses as the reference computes them, COCO figures, what they mean to a person."""
