"""Data sets in other formats, turned into the container's own; the container never imports it."""
