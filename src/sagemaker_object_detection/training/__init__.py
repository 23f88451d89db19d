"""Training from the first step to the best model: what a job does, in which order, and how it goes on."""
