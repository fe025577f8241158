"""8 bits that look right: ranges evened out exactly, and weights rounded so that their errors cancel."""
from basicsr_kd.quantisation.placing import RecordingError
from basicsr_kd.quantisation.quantise import Quantised, quantise

__all__ = ['Quantised', 'RecordingError', 'quantise']
