"""A trained network in the files that other programs open."""
