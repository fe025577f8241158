"""Validation on clips: they stream through the network, all ranks share them, and metrics know their protocol."""
from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr_kd.data.tecogan_degradation import gaussian_downsample_padded
from basicsr_kd.deploy.stream import run_stream
from basicsr_kd.models.validation.clip_scores import VideoScores
from basicsr_kd.models.validation.images import Validation
from basicsr_kd.utils.modes import evaluating


class VideoValidation(Validation):
    """Validation of a frame-recurrent network on sets of `TecoGANTestDataset`; to be put before other bases.

    With n ranks, rank r takes clips r, r + n, r + 2n, … Frames are read, enlarged, scored and saved one by one, so that
    memory does not grow with the length of a clip. If a set has no low resolution, it is made from the ground truth.

    Options of `val:` read here besides BasicSR's: `protocol`, `frame_rate`.
    """

    def dist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Enlarge, save and score the clips of a set; rank 0 writes the scores into the log.

        Args:
            dataloader: BasicSR's; only its set is used.
            current_iter: The iteration; in a test BasicSR gives the run's name.
            tb_logger: TensorBoard's writer, or None.
            save_img: Whether to save the enlarged frames.

        Raises:
            MetricError: A metric cannot take some frames; the text names the clip.
            EvaluationError: A frame cannot be read any more.
        """
        dataset: Any = dataloader.dataset
        val, first = self.opt['val'], self.opt['rank'] == 0
        scores = VideoScores(val.get('metrics') or {}, val['protocol'], self.device, self.left_out, val['frame_rate'])
        share = [dataset[index] for index in range(self.opt['rank'], len(dataset), self.opt['world_size'])]
        bar = tqdm(total=sum(len(item['frames']) for item in share), unit='frame',
                   disable=not (first and val.get('pbar')))
        for item in share:
            bar.set_description(f'Test {item["clip"]}')
            if broken := dataset.broken_frame(item['clip']):
                get_root_logger().error(f'Validation {dataset.opt["name"]}: {broken} cannot be read as an image, so '
                                        f'clip {item["clip"]} is left out.')
                continue
            for index, (result, truth) in enumerate(self.enlarge_clip(dataset, item)):
                if self.is_asked_to_end():
                    break
                if save_img:
                    imwrite(result, self.frame_path(dataset.opt['name'], item, index, current_iter))
                if truth is not None:
                    scores.add(item['clip'], index, result, truth)
                bar.update()
        bar.close()
        self.end_if_asked(current_iter)
        scores.gather()
        if first:
            if val.get('metrics') and scores.protocol not in self.warned:
                get_root_logger().info(f'Metrics of clips: {scores.protocol}')
                self.warned.add(scores.protocol)
            self._report(scores, dataset.opt['name'], current_iter, tb_logger)
        self.left_out = scores.left_out

    def enlarge_clip(self, dataset: Any, item: Mapping[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Enlarge each frame, with EMA if there is one, and give its ground truth with it: (h, w, 3) BGR, uint8."""
        net = self.net_g_ema if hasattr(self, 'net_g_ema') else self.get_bare_model(self.net_g)
        truths: deque[np.ndarray | None] = deque()  # of frames that are read but not given out yet: six at most

        def frames() -> Iterator[Tensor]:
            for index in range(len(item['frames'])):
                images = dataset.frame(item['clip'], index)
                truths.append(tensor2img([images['gt']]) if 'gt' in images else None)
                yield self.low_resolution(images)[None]

        stream = run_stream(net, frames())
        with evaluating(net):
            while True:
                with self.for_validation():  # it ends before the caller gets the frame
                    output = next(stream, None)
                if output is None:
                    break
                yield tensor2img([output]), truths.popleft()

    def low_resolution(self, images: Mapping[str, Tensor]) -> Tensor:
        """A frame (3, h, w) on the device: the given one, or made from the ground truth (3, scale·h, scale·w)."""
        if 'lq' in images:
            return images['lq'].to(self.device)
        return gaussian_downsample_padded(images['gt'].to(self.device), self.opt['scale'],
                                          self.opt['degradation']['sigma'])

    def frame_path(self, dataset: str, item: Mapping[str, Any], index: int, current_iter: Any) -> str:
        """The file for an enlarged frame: in a folder for its clip, by the frame's name, in training with iteration."""
        suffix = current_iter if self.opt['is_train'] else self.opt['val']['suffix']
        name = item['frames'][index] + (f'_{suffix}' if suffix else '')
        return os.path.join(self.opt['path']['visualization'], dataset, item['clip'], f'{name}.png')
