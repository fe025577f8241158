"""Pruning and knowledge distillation of GAN super-resolution networks, as a plugin of BasicSR.

Imported at every start of Python (see `basicsr_kd.autoload`), so nothing else may be imported here.
"""

__version__ = '0.1.0'
