"""How fast networks are in the programs that run them: what `basicsr-kd bench` runs."""
