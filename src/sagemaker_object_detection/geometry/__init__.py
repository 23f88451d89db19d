"""Boxes, anchors and what is computed between them: pure functions."""
