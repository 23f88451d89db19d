"""What a job computes on: GPUs, their driver, the number format, copies of the detector on several devices."""
