"""All errors of this package, under one base class. Imports nothing heavy."""
from __future__ import annotations

import os


class BasicSRKDError(Exception):
    """Something cannot be done; the text says for the user what was found, what was expected, and what to do."""


class ResumeError(BasicSRKDError):
    """The training state to resume from is missing, cannot be read, or lacks its networks."""


class StartError(BasicSRKDError):
    """A run cannot start in its folder; the message says what is in the way and what to do."""


class OptionsError(BasicSRKDError, ValueError):
    """A fault in the options file; the text names the key's path, what was found and what is possible."""


class CheckpointError(BasicSRKDError):
    """A checkpoint cannot be used; the message names the file, what was found and what to do."""


class UnknownArchitectureError(CheckpointError):
    """Neither the shapes of a file's tensors nor a `.yml` beside it tell which of BasicSR's networks it holds."""


class ClipError(BasicSRKDError, ValueError):
    """Clips cannot be used; the message names the file and says what was found, what is possible, what to do."""


class PairError(BasicSRKDError, ValueError):
    """Images are no pairs of low resolution and ground truth; the text is to be put behind the key of their set."""


class EvaluationError(BasicSRKDError):
    """Images or networks cannot be evaluated; the text says what was found, what was expected, what to do."""


class BadImageError(EvaluationError):
    """One image file cannot be used; others of its set may be usable.

    Args:
        path: The file.
        reason: The text to put behind the file's name: 'is cut short …'.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f'{os.fspath(path)} {reason}')
        self.path = os.fspath(path)
        self.reason = reason


class MetricError(BasicSRKDError):
    """A metric is not defined for its input; the message says what was found and what is expected."""


class BackboneError(MetricError):
    """The pretrained network of a metric cannot be had; other metrics can go on without it."""


class InferError(BasicSRKDError):
    """Files cannot be enlarged or written; the text says what was found, what was expected, what to do."""


class ExportError(BasicSRKDError):
    """A network cannot be written for a program, or does not work there; the text says what was found, what to do."""


class ReportError(BasicSRKDError):
    """The report that was asked for cannot be made; the text says what was found, what was expected, what to do."""


class PruningError(BasicSRKDError, ValueError):
    """A network cannot be pruned as asked; the message says what was found, what is possible and what to do."""


class PruneOptionError(PruningError):
    """An option of a pruning is impossible, by itself or together with the others.

    Args:
        option: The option's name in Python; options file and command line write it in their own way.
        reason: The text to put behind the name: 'is missing …'.
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f'prune: {option} {reason}')
        self.option = option
        self.reason = reason


class InheritanceError(BasicSRKDError, ValueError):
    """The student cannot inherit from this teacher."""


class LayerError(BasicSRKDError, ValueError):
    """A layer name or glob matches nothing, or not the same in both networks."""


class TapError(BasicSRKDError, RuntimeError):
    """A tapped module gave no usable feature map."""


class TrainingError(BasicSRKDError, RuntimeError):
    """Training cannot go on."""


class BenchError(BasicSRKDError):
    """Networks cannot be timed; the text says what was found, what was expected, what to do."""


class MissingExtraError(BasicSRKDError):
    """A package that only some commands need is missing; the text names the extra that installs it."""
