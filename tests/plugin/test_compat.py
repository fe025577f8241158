"""The shims for BasicSR on today's stack; those for its runners are tested as commands in test_entry_points.py."""
import torch


def test_the_stand_in_for_torchvision_holds_what_basicsr_imports():
    from basicsr.data import degradations
    gray = degradations.rgb_to_grayscale(torch.ones(1, 3, 2, 2))
    assert gray.shape == (1, 1, 2, 2)
