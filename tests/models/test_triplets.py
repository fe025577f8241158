"""What TecoGAN's discriminator sees, against plain re-computations with loops."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr_kd.models.tecogan_triplets import mirrored, mirrored_flow, teco_triplets, triplet_flow

SIDE = 16
CUT = 2  # of 16 pixels, 12 stay in the centre


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Bilinear, pixel by pixel; outside, the border goes on. image (c, h, w), flow (2, h, w)."""
    height, width = image.shape[1:]
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            left = min(max(x + flow[0, y, x], 0), width - 1)
            top = min(max(y + flow[1, y, x], 0), height - 1)
            x0, y0 = min(int(left), width - 2), min(int(top), height - 2)
            a, b = left - x0, top - y0
            rows = image[:, y0:y0 + 2, x0:x0 + 2]
            result[:, y, x] = ((1 - b) * ((1 - a) * rows[:, 0, 0] + a * rows[:, 0, 1]) +
                               b * ((1 - a) * rows[:, 1, 0] + a * rows[:, 1, 1]))
    return result


def test_the_channels_are_frames_warped_frames_and_enlarged_frames():
    frames, upsampled = random(2, 7, 3, SIDE, SIDE), random(2, 7, 3, SIDE, SIDE).flip(0)
    flow = 6 * random(2, 2, 3, 2, SIDE, SIDE) - 3
    found = teco_triplets(frames, upsampled, flow)
    assert found.shape == (4, 27, SIDE, SIDE)
    for clip in range(2):
        for triplet in range(2):
            image = found[2 * clip + triplet].numpy()
            for which in range(3):
                frame = frames[clip, 3 * triplet + which].numpy()
                warped = warp(frame, flow[clip, triplet, which].numpy())
                warped[:, :CUT], warped[:, -CUT:], warped[:, :, :CUT], warped[:, :, -CUT:] = 0, 0, 0, 0
                for colour in range(3):  # red of the three frames, then green, then blue
                    channel = 3 * colour + which
                    np.testing.assert_array_equal(image[channel], frame[colour])
                    np.testing.assert_allclose(image[9 + channel], warped[colour], atol=1e-5)
                    np.testing.assert_array_equal(image[18 + channel],
                                                  upsampled[clip, 3 * triplet + which, colour].numpy())


def test_the_published_crop_of_128_pixels_keeps_96():
    frames = torch.ones(1, 3, 3, 128, 128)
    inside = teco_triplets(frames, frames, torch.zeros(1, 1, 3, 2, 128, 128))[0, 9]
    assert inside.sum() == 96 * 96 and inside[16:112, 16:112].all()


def test_the_middle_is_not_moved_and_no_gradient_goes_through_flows():
    backward, forward = random(1, 2, 2, 4, 4).requires_grad_(), random(1, 2, 2, 4, 4)
    flow = triplet_flow(backward, forward)
    assert not flow.requires_grad and not flow[:, :, 1].any()
    assert torch.equal(flow[:, :, 0], backward) and torch.equal(flow[:, :, 2], forward)


@pytest.mark.parametrize('frames', [2, 3, 4, 5, 10])
def test_a_mirrored_clip_knows_its_forward_flow(frames):
    """Each flow is marked by the frames it goes from and to, in the clip before it was mirrored."""
    order = mirrored(torch.arange(frames).view(1, -1, 1, 1, 1)).flatten().tolist()
    assert order == [*range(frames), *range(frames - 2, -1, -1)]
    marked = torch.tensor([[start, end] for end, start in zip(order, order[1:], strict=False)])
    found = mirrored_flow(marked.view(1, -1, 2, 1, 1).float()).flatten(2).int()
    assert found.shape[1] == (2 * frames - 1) // 3
    for triplet, flows in enumerate(found[0].tolist()):
        first, middle, last = order[3 * triplet:3 * triplet + 3]
        assert flows == [middle, first, 0, 0, middle, last], triplet


def test_a_gradient_reaches_the_frames_of_whole_triplets():
    frames = random(1, 4, 3, SIDE, SIDE).requires_grad_()
    teco_triplets(frames, frames.detach(), torch.zeros(1, 1, 3, 2, SIDE, SIDE)).sum().backward()
    assert frames.grad[:, :3].all() and not frames.grad[:, 3].any()
    assert frames.grad[0, 0, 0, 0, 0] == pytest.approx(1)
    assert frames.grad[0, 0, 0, 8, 8] == pytest.approx(2)  # once as it is, once warped
