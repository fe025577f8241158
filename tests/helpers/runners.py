"""What stands in the place of a runtime."""
import numpy as np


class Nearest:
    """Runs no network at all: repeats pixels, and remembers what it was given."""

    def __init__(self, scale=4):
        self.scale = scale
        self.seen = []

    def __call__(self, images):
        assert images.dtype == np.float32 and images.flags.c_contiguous
        self.seen.append(images.shape)
        return images.repeat(self.scale, axis=2).repeat(self.scale, axis=3)

    def memory(self, pixels):
        return 0

    def free_memory(self):
        return float('inf')
