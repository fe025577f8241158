"""What our models do at a validation."""
