"""Files of other programs, told in BasicSR's names. Numpy at most."""
