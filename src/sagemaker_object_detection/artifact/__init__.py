"""The model directory: what a job leaves behind, and how it is read back."""
