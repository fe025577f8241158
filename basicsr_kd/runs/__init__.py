"""How a training run starts, goes on and ends."""
