"""The parts of a validation."""
