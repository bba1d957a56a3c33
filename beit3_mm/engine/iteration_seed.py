# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Random draws of the model that do not depend on what came before."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds each training iteration by (seed of the run, iteration, rank).

    So dropped paths, dropout, masks and sampled boxes of an iteration are the
    same in a run that was killed and resumed, with any number of workers.
    Seeds are those of `random`, numpy and torch, on the CPU and all devices,
    in each process of a run but not in the workers of its data loader, where
    `beit3_mm.SeededDataset` seeds each sample. The seed of
    the run is that of the first process; mmengine keeps it in checkpoints and
    restores it, so that runs without a fixed seed agree too.
    """

    # Before any hook that draws.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._seed: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Takes the seed of the run, restored if it was resumed."""
        seed = [runner.seed]  # another one in each process, if so configured
        broadcast_object_list(seed)
        self._seed = seed[0]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seeds everything that draws in this process."""
        key = (self._seed, runner.iter, get_rank())
        words = np.random.SeedSequence(key).generate_state(4)
        random.seed(words.tobytes())
        np.random.seed(words)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
