"""One training step: forward and backward pass, update, on every replica, whole or in parts."""
