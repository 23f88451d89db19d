"""Backbones: each module builds one architecture's graph and returns its feature maps."""
