"""What a metric refuses; the messages are for the person who started the command or the training."""


class MetricError(Exception):
    """A metric was given what it is not defined for; the message says what was found and what is expected."""


class BackboneError(MetricError):
    """The pretrained network that a metric rests on cannot be had; other metrics can go on without it."""
