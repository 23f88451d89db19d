"""The hyperparameters: one table of rows, from which values are read and documentation is rendered."""
