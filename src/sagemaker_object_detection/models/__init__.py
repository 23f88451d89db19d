"""The detectors: backbone, feature pyramid and prediction heads, and what turns predictions into detections."""
