"""The plugin's own YAML sections as strict structs. Imports neither torch nor BasicSR."""
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.our_models import OUR_MODELS, our_model
from basicsr_kd.options.sections import validate

__all__ = ['OUR_MODELS', 'OptionsError', 'our_model', 'validate']
