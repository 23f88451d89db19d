"""Image files: their headers, their pixels, and the network's input."""
