"""What a student learns from a teacher: layers, taps, adapters, inheritance."""
