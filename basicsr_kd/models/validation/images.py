"""Validation on images: all ranks share them, large ones are cut into tiles, and a whole set has scores (FID, KID)."""
from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr_kd.data.broken_images import undecodable
from basicsr_kd.deploy.tiles import run_tiled
from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.image_scores import needs_truth
from basicsr_kd.models.training.acceleration import Acceleration
from basicsr_kd.models.validation.clip_scores import VideoScores
from basicsr_kd.models.validation.image_names import ImageNames, told_apart
from basicsr_kd.models.validation.journal import Journal
from basicsr_kd.models.validation.panels import Pictures
from basicsr_kd.models.validation.scores import Score, Scores
from basicsr_kd.options.val import has_truth
from basicsr_kd.runs import signals
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.utils.metric_names import of_type
from basicsr_kd.utils.modes import evaluating


class Validation(Acceleration):
    """BasicSR's validation of one network on images; to be put before SRModel among the bases.

    In BasicSR rank 0 works alone while the others wait. Here, with n ranks, rank r takes images r, r + n, r + 2n, … In
    the end rank 0 has all scores, the same as a single process would have. Training goes on as if there had been no
    validation: the networks' mode and the random numbers are unchanged.

    Options of `val:` read here besides BasicSR's: `tile`, `tile_overlap`, `pictures`.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.left_out: dict[str, str] = {}  # metrics whose backbone cannot be had, and why
        self.warned: set[str] = set()
        self.image_names = ImageNames()
        super().__init__(opt)

    def test(self) -> None:
        """Enlarge `self.lq`, with EMA if there is one; EMA and generator stay in the mode they are in."""
        net = self.net_g_ema if hasattr(self, 'net_g_ema') else self.get_bare_model(self.net_g)
        with evaluating(net), self.for_validation():
            self.output = run_tiled(net, self.lq, self.opt['val']['tile'], self.opt['val']['tile_overlap'])

    @cached_property
    def pictures(self) -> Pictures:
        """The maker of pictures for TensorBoard."""
        teach = self.teach if hasattr(self, 'net_teacher') else None
        return Pictures(self.opt['scale'], self.opt['val']['tile_overlap'], teach)

    def teach(self, lq: Tensor) -> Tensor:
        """The teacher's outputs for images (n, 3, h, w), RGB in [0, 1]."""
        net: nn.Module = self.net_teacher  # KDGANModel's
        with torch.no_grad(), evaluating(net), self.for_validation():
            return net(lq.to(self.device))

    def validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Validate as BasicSR does, but with the right iteration at the end: BasicSR gives one that never was."""
        if self.opt['is_train']:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        super().validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        self.dist_validation(dataloader, current_iter, tb_logger, save_img)

    def dist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Enlarge, save and score the images of a set; rank 0 writes the scores into the log.

        Args:
            dataloader: BasicSR's, with one image in a batch. Only its set and its `collate_fn` are used.
            current_iter: The iteration; in a test BasicSR gives the run's name.
            tb_logger: TensorBoard's writer, or None.
            save_img: Whether to save the enlarged images, under BasicSR's file names.

        Raises:
            MetricError: Result and ground truth differ in size, or a metric cannot take them; the text names the image.
        """
        dataset: Any = dataloader.dataset
        first = self.opt['rank'] == 0
        scores = Scores(self.metrics_of(dataset), self.device, self.left_out)
        number = self.opt['val']['pictures'] if self.opt['is_train'] else 0  # a test has no TensorBoard
        shown: dict[str, np.ndarray] = {}
        order = _in_order(dataset)
        names = told_apart(_paths(dataset))
        files = self.image_names.in_one_folder(dataset.opt['name'], names) if self.opt['is_train'] else names
        share = tqdm(range(self.opt['rank'], len(order), self.opt['world_size']), unit='image',
                     disable=not (first and self.opt['val'].get('pbar')))
        for index in share:
            if self.is_asked_to_end():
                break
            try:
                data = dataloader.collate_fn([dataset[order[index]]])  # iterating over the loader draws a random number
            except Exception:  # whatever BasicSR's code raises for an image that is None
                broken = undecodable(dataset, order[index])
                if not broken:
                    raise
                get_root_logger().error(f'Validation {dataset.opt["name"]}: {broken[0]} cannot be read as an image and '
                                        'is left out.')
                continue
            name = names[order[index]] if names else os.path.splitext(os.path.basename(data['lq_path'][0]))[0]
            share.set_description(f'Test {name}')
            images = self.enlarge(data)
            if save_img:
                file = files[order[index]] if files else name
                imwrite(images['img'], self.result_path(dataset.opt['name'], file, current_iter))
            try:
                scores.add(index, images)
            except MetricError as error:
                raise MetricError(f'{data["lq_path"][0]}: {error}') from None
            if index < number:
                tag = f'{dataset.opt["name"]}/{name}'
                shown[tag] = self.pictures.picture(tag, data['lq'], images)
        self.end_if_asked(current_iter)
        if number:
            _show(shown, current_iter, tb_logger)
        scores.gather()
        if first:
            self._report(scores, dataset.opt['name'], current_iter, tb_logger)
        self.left_out = scores.left_out

    def is_asked_to_end(self) -> bool:
        """Whether this process trains and has got a signal to end."""
        return self.opt['is_train'] and signals.asked() is not None

    def end_if_asked(self, current_iter: Any) -> None:
        """End the run if one of its processes has got a signal; this validation then has no scores."""
        if self.opt['is_train'] and (asked := [number for number in from_all_ranks(signals.asked()) if number]):
            self.end_run(asked[0], current_iter)

    def metrics_of(self, dataset: Any) -> dict[str, Any]:
        """The metrics of `val: metrics:` that a set can have; those left out for lack of ground truth are logged."""
        metrics = self.opt['val'].get('metrics') or {}
        if has_truth(dataset.opt):
            return metrics
        found = {name: metric for name, metric in metrics.items() if not needs_truth(metric['type'])}
        missing = ', '.join(name for name in metrics if name not in found)
        said = f'Validation {dataset.opt["name"]}: it has no ground truth, so {missing} cannot be had there.'
        if missing and self.opt['rank'] == 0 and said not in self.warned:
            get_root_logger().info(said)
            self.warned.add(said)
        return found

    def enlarge(self, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The network's output for an image, `img`, and the ground truth `img2` if there is one: BGR, uint8."""
        if self.opt['val']['tile']:
            self.lq = data['lq']  # it stays on the CPU, where the output is put together: a GPU only sees tiles
        else:
            self.feed_data({'lq': data['lq']})
        self.test()
        images = {'img': tensor2img([self.output])}
        if 'gt' in data:
            images['img2'] = tensor2img([data['gt']])
        del self.lq, self.output
        return images

    def result_path(self, dataset: str, name: str, current_iter: Any) -> str:
        """The file where BasicSR saves an enlarged image."""
        folder = self.opt['path']['visualization']
        if self.opt['is_train']:
            return os.path.join(folder, name, f'{name}_{current_iter}.png')
        return os.path.join(folder, dataset, f'{name}_{self.opt["val"]["suffix"] or self.opt["name"]}.png')

    def _report(self, scores: Scores | VideoScores, dataset: str, current_iter: Any, tb_logger: Any) -> None:
        new = {f'val.metrics.{metric}': why for metric, why in scores.left_out.items() if metric not in self.left_out}
        for why in dict.fromkeys(new.values()):
            metrics = ', '.join(metric for metric, reason in new.items() if reason == why)
            get_root_logger().warning(f'{metrics}: left out, since {why}')
        results = scores.results()
        for warning in scores.warnings():
            if warning not in self.warned:
                get_root_logger().warning(warning)
                self.warned.add(warning)
        self.metric_results = {metric: score.value for metric, score in results.items()}
        if results:
            self._initialize_best_metric_results(dataset)
            for metric, score in results.items():
                self._update_best_metric_result(dataset, metric, score.value, current_iter)
            if self.opt['is_train']:
                self._journal().add(current_iter, dataset, self.metric_results)
            self._log(results, dataset, current_iter, tb_logger)

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: Any) -> None:
        """Update the best score, also for metrics that are best near a number (texture: 1), not high or low."""
        ours = of_type(self.opt['val']['metrics'][metric]['type'])
        if ours is None or ours.best is None:
            super()._update_best_metric_result(dataset_name, metric, val, current_iter)
            return
        best = self.best_metric_results[dataset_name][metric]
        if abs(val - ours.best) <= abs(best['val'] - ours.best):
            best.update(val=val, iter=current_iter)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Also restore the best scores, from the validations up to the state."""
        super().resume_training(resume_state)
        if self.opt['rank'] == 0:
            for iteration, dataset, scores in self._journal().go_back_to(resume_state['iter']):
                self._initialize_best_metric_results(dataset)
                for metric in (name for name in scores if name in self.best_metric_results[dataset]):
                    self._update_best_metric_result(dataset, metric, scores[metric], iteration)

    def _journal(self) -> Journal:
        return Journal(Path(self.opt['path']['experiments_root']) / 'validations.jsonl')

    def _log(self, results: Mapping[str, Score], dataset: str, current_iter: Any, tb_logger: Any) -> None:
        """Write the lines that BasicSR writes, each with the score's note."""
        lines = [f'Validation {dataset}']
        for metric, (value, note) in results.items():
            best = self.best_metric_results[dataset][metric]
            lines.append(f'\t # {metric}: {value:.4f}' + (f' ({note})' if note else '') +
                         f'\tBest: {best["val"]:.4f} @ {best["iter"]} iter')
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{dataset}/{metric}', value, current_iter)
        get_root_logger().info('\n'.join(lines) + '\n')


def _show(own: Mapping[str, np.ndarray], current_iter: Any, tb_logger: Any) -> None:
    """Put the pictures of all ranks into TensorBoard, whose writer rank 0 has."""
    shares = from_all_ranks(own)
    for tag, picture in (item for share in shares for item in share.items() if tb_logger):
        tb_logger.add_image(tag, picture, current_iter, dataformats='HWC')


def _paths(dataset: Any) -> list[str]:
    """A set's low-resolution images; an empty list if the set has no `paths`."""
    return [found if isinstance(found, str) else found['lq_path'] for found in getattr(dataset, 'paths', ())]


def _in_order(dataset: Any) -> list[int]:
    """The indices of a set's images, sorted by path; BasicSR has them in the order of the machine's listing."""
    paths = getattr(dataset, 'paths', None)
    return sorted(range(len(dataset)), key=lambda index: str(paths[index]) if paths else index)
