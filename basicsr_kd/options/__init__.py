"""The plugin's own YAML sections as strict structs. Imports neither torch nor BasicSR."""
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.sections import OUR_MODELS, validate

__all__ = ['OUR_MODELS', 'OptionsError', 'validate']
