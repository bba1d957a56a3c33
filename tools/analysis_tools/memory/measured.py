# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The real peak of training a config in one process."""

import copy
import ctypes

import torch
from benchmarks.memory import PeakMemory
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS

from memory.hollow import frozen_tokenizer, start_tokenizer
from memory.step import optimizer_config

UPDATES = 2  # the optimizer's state exists from the second one on
MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
LARGE = 2**16  # bytes


def measure(
    cfg: Config,
    batch: dict,
    warm_up: dict,
    amp: bool,
    device: torch.device,
) -> int:
    """Trains for two updates and returns the peak above the start, in bytes.

    A model of the same config is trained on another batch before, and freed:
    what a process loads at its first step (code, for the most part) would
    count as much as a small model. On a CPU the peak is that of the resident
    size; malloc is told to give back what is freed, as holes in its heap
    would count too.

    Args:
        cfg: Has the model and the optimizer.
        batch: For the model's `train_step`.
        warm_up: Likewise, as small as can be.
        amp: Whether to run in bfloat16 autocast.
        device: Of the model.

    Raises:
        ValueError: If the peak of this machine cannot be measured.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # glibc has it
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE)
    _train(cfg, warm_up, amp, device)
    with PeakMemory(device) as memory:
        _train(cfg, batch, amp, device)
    if memory.peak is None:
        raise ValueError(
            '--measure needs a GPU, or Linux: elsewhere the peak of the '
            'resident size is not known'
        )
    return memory.peak


def _train(cfg: Config, batch: dict, amp: bool, device: torch.device) -> None:
    model = MODELS.build(copy.deepcopy(cfg.model)).to(device).train()
    tokenizer = frozen_tokenizer(model)
    if tokenizer is not None:
        start_tokenizer(tokenizer)
    config = optimizer_config(cfg, amp)
    wrapper = build_optim_wrapper(model, config)
    for _ in range(UPDATES * config.get('accumulative_counts', 1)):
        model.train_step(batch, wrapper)
