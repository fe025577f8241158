"""Networks written for the programs that run them, and tried there."""
