"""How well networks do on sets of images, beside what they cost: what `basicsr-kd evaluate` runs."""
