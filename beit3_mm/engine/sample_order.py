# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Keeps the order of the training samples over epochs and resumes."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class SampleOrderHook(Hook):
    """Tells the sampler its epoch, and after a resume where to go on.

    Takes the place of mmengine's `DistSamplerSeedHook`, works with any
    sampler, and checks that `beit3_mm.SeededDataset` and the samplers of
    `beit3_mm` are used together and in the loop that they are made for.
    A checkpoint saved within an epoch is resumed at the same sample, even
    with another number of processes or another batch size; iteration-based
    runs must keep the batch of all processes together, because mmengine
    counts their batches: a warning says where one does not.

    Raises:
        ValueError: If dataset, sampler and training loop do not fit.
    """

    # Before the checkpoint hook, which asks for the position.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._saved: dict | None = None
        self._drawn = 0  # samples of this process in this epoch

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Notes the position that the checkpoint was saved at."""
        self._saved = checkpoint.get('sample_order')

    def before_train(self, runner: Runner) -> None:
        """Checks the data loader and restores the seed of a resumed run."""
        sampler = _sampler(runner)
        _check(runner)
        if runner.iter == 0 or not _is_ours(sampler):
            self._saved = None  # weights alone, or an order of its own
        if self._saved is not None:
            sampler.seed = self._saved['seed']
            _check_batch(runner, self._saved)

    def before_train_epoch(self, runner: Runner) -> None:
        """Sets the epoch, and the first sample after a resume within it."""
        sampler = _sampler(runner)
        if not hasattr(sampler, 'set_epoch'):
            return
        if self._saved is None:
            self._drawn = 0
            sampler.set_epoch(runner.epoch)
        else:
            self._drawn = self._saved['position'] // get_world_size()
            self._saved = None
            sampler.set_epoch(runner.epoch, start=self._drawn)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Counts the samples."""
        self._drawn += runner.train_dataloader.batch_sampler.batch_size

    def after_train_epoch(self, runner: Runner) -> None:
        """Begins anew: what is saved from here on is before an epoch."""
        self._drawn = 0

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the seed, and the position in the epoch over all processes."""
        sampler = _sampler(runner)
        if not _is_ours(sampler):
            return
        checkpoint['sample_order'] = {
            'seed': sampler.seed,
            'position': self._drawn * get_world_size(),
            'batch_size': _batch_size(runner),
        }


def _sampler(runner: Runner) -> Any:
    # `DataLoader.sampler` is another one beside a custom batch sampler.
    return runner.train_dataloader.batch_sampler.sampler


def _batch_size(runner: Runner) -> int:
    """Returns the samples of a batch of all processes together."""
    return runner.train_dataloader.batch_sampler.batch_size * get_world_size()


def _check_batch(runner: Runner, saved: dict) -> None:
    """Warns where a resumed run cannot go on with the next sample."""
    now = _batch_size(runner)
    before = saved.get('batch_size', now)  # older checkpoints lack it
    if before != now and isinstance(runner.train_loop, IterBasedTrainLoop):
        runner.logger.warning(
            'The checkpoint is of a run with batches of %d samples over all '
            'processes, this one has %d: it goes on elsewhere in the data, so '
            'that some samples come twice or are left out of an epoch. '
            'batch_size times the number of processes must stay for an '
            'exact resume',
            before,
            now,
        )


def _is_ours(sampler: Any) -> bool:
    # Not imported above: this package must not import the data sets.
    from beit3_mm.datasets.samplers import (
        EpochSampler,
        InfiniteSampler,
        MixedSampler,
    )

    return isinstance(sampler, EpochSampler | InfiniteSampler | MixedSampler)


def _check(runner: Runner) -> None:
    """Raises if dataset, sampler and loop are not made for each other."""
    from beit3_mm.datasets import SeededDataset
    from beit3_mm.datasets.samplers import InfiniteSampler, MixedSampler

    dataset = runner.train_dataloader.dataset
    # mmengine's `num_batch_per_epoch` wraps the dataset once more.
    dataset = getattr(dataset, '_dataset', dataset)
    sampler = _sampler(runner)
    name = type(sampler).__name__
    if _is_ours(sampler) != isinstance(dataset, SeededDataset):
        raise ValueError(
            f'train_dataloader combines {type(dataset).__name__} with {name}; '
            'beit3_mm.SeededDataset needs beit3_mm.EpochSampler, '
            'beit3_mm.InfiniteSampler or beit3_mm.MixedSampler, and they need '
            'it'
        )
    if not _is_ours(sampler):
        return
    endless = isinstance(runner.train_loop, IterBasedTrainLoop)
    if endless != isinstance(sampler, InfiniteSampler | MixedSampler):
        raise ValueError(
            f'{name} does not fit {type(runner.train_loop).__name__}: use '
            'beit3_mm.InfiniteSampler for iterations, beit3_mm.EpochSampler '
            'for epochs'
        )
    batch_size = runner.train_dataloader.batch_sampler.batch_size
    if isinstance(sampler, MixedSampler):
        sampler.check_batch_size(batch_size)
