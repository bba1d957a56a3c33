# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Ends a training whose loss is not finite, before it saves what is left."""

import math
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from beit3_mm.engine.agreement import any_process
from beit3_mm.engine.safe_checkpoint import latest_checkpoint
from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends the training in the iteration whose loss is NaN or infinite.

    All processes end together, before any of them saves a checkpoint. It
    looks at losses alone: gradients that a `GradScaler` scaled too high, and
    whose step it leaves out, are none of its business.

    Raises:
        ValueError: If a loss of any process is not finite; the message names
            the iteration, the parts of the loss and what to do.
    """

    # Behind the hook that logs, before those that save.
    priority = 'LOW'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Looks at each part of the loss."""
        # Others, such as an accuracy, may be undefined in a batch.
        losses = {k: v for k, v in (outputs or {}).items() if 'loss' in k}
        numbers = {k: torch.as_tensor(v).item() for k, v in losses.items()}
        spoilt = {k: v for k, v in numbers.items() if not math.isfinite(v)}
        if any_process(bool(spoilt)):
            raise ValueError(_message(runner, all_gather_object(spoilt)))


def _message(runner: Runner, spoilt: list[dict[str, float]]) -> str:
    """Says what is not finite, by process, and how to go on."""
    where = ' in process {}' if len(spoilt) > 1 else ''
    found = '; '.join(
        ', '.join(f'{k}={v}' for k, v in parts.items()) + where.format(rank)
        for rank, parts in enumerate(spoilt)
        if parts
    )
    newest = latest_checkpoint(runner.work_dir)
    clip = '--cfg-options optim_wrapper.clip_grad.max_norm=1.0'
    remedy = (
        f'the newest checkpoint is {newest}. Clip the gradients ({clip}) and '
        'go on with --resume; or, since a resumed run keeps its learning '
        f'rate, start another one from there (load_from={newest}) with a '
        'lower optim_wrapper.optimizer.lr. If that fails at once, its weights '
        'are spoilt already: take an earlier one'
        if newest
        else f'there is no checkpoint yet. Clip the gradients ({clip}), lower '
        'optim_wrapper.optimizer.lr or warm up for longer'
    )
    return (
        f'the loss is not finite in iteration {runner.iter + 1}: {found}. '
        f'Nothing was saved since; {remedy}'
    )
