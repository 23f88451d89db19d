"""From a channel folder to checked columns, and from those to batches."""
