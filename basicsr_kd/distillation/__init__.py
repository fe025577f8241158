"""Learning of a student from a teacher: layers, taps, adapters, inheritance."""
