"""Weights a detector starts from: where they lie, what their variables are called, and putting them into place."""
