# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Checkpoints that load without unpickling and survive a kill."""

import os
import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.fileio.backends import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmengine.utils import mkdir_or_exist
from torch import Tensor, nn

from beit3_mm.registry import HOOKS

# What `torch.load(weights_only=True)` reads as it is.
_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes),
    *(Tensor, nn.Parameter, torch.Size, torch.dtype, torch.device),
)


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Writes a file under another name first, then renames it.

    So a file is there whole or not at all, whenever the process is killed.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes to a file."""
        path = Path(filepath)
        mkdir_or_exist(str(path.parent))
        unfinished = path.with_name(f'{path.name}.tmp')
        with unfinished.open('wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes checkpoints that are safe to read.

    mmengine's history of logged values becomes tensors (`LoadCheckpointHook`
    restores it), numpy values become Python's, so that
    `torch.load(weights_only=True)` reads the file; `mmengine.CheckpointHook`
    writes through `AtomicBackend`.

    Raises:
        TypeError: If an object cannot be written safely.
    """

    # Behind hooks that add to a checkpoint, such as mmengine's EMAHook.
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Makes local checkpoint hooks write through `AtomicBackend`."""
        for hook in runner.hooks:
            if (
                isinstance(hook, CheckpointHook)
                and hook.backend_args is None
                and '://' not in str(hook.out_dir)
            ):
                hook.backend_args = {'backend': 'atomic'}

    def before_train(self, runner: Runner) -> None:
        """Refuses to keep a single checkpoint.

        Raises:
            ValueError: If a checkpoint hook would do so.
        """
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook.max_keep_ckpts == 1:
                raise ValueError(
                    'max_keep_ckpts=1 deletes the only checkpoint before the '
                    'next one is written; set '
                    'default_hooks.checkpoint.max_keep_ckpts to 2 or more'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turns everything into tensors and plain values."""
        scalars = checkpoint['message_hub']['log_scalars']
        for name, history in scalars.items():
            values, counts = history.data
            scalars[name] = {
                'values': torch.as_tensor(values, dtype=torch.float64),
                'counts': torch.as_tensor(counts, dtype=torch.float64),
                'max_length': history.max_length,
            }
        for key, value in checkpoint.items():
            checkpoint[key] = _plain(value, key)


def latest_checkpoint(work_dir: str) -> str | None:
    """Returns the newest checkpoint of a run, None where there is none.

    mmengine notes it in the file `last_checkpoint`, which is of no use after
    a kill in that moment; then the highest number counts. In a folder that
    was moved or copied, the file of the noted name in it counts.
    """
    note = Path(work_dir, 'last_checkpoint')
    if note.is_file():
        noted = Path(note.read_text().strip())
        for path in (Path(work_dir, noted.name), noted):
            if noted.name and path.is_file():
                return str(path)
    numbers = {
        int(match[1]): str(file)
        for file in Path(work_dir).glob('*.pth')
        if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)', file.stem))
    }
    return numbers[max(numbers)] if numbers else None


def _plain(value: Any, where: str) -> Any:
    """Copies nested values as types that load with `weights_only=True`."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), where)
    if isinstance(value, Mapping):
        items = [
            (_plain(key, where), _plain(item, f'{where}.{key}'))
            for key, item in value.items()
        ]
        if not isinstance(value, OrderedDict):
            return dict(items)
        ordered = OrderedDict(items)
        # `_metadata` of a state dict: the versions of its modules.
        vars(ordered).update(vars(value))
        return ordered
    if isinstance(value, list | tuple | set | deque):
        kind = next(
            k for k in (tuple, set, list, deque) if isinstance(value, k)
        )
        items = (_plain(item, f'{where}[...]') for item in value)
        return list(items) if kind is deque else kind(items)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(
        f'{where} of the checkpoint is a {type(value).__name__}, which '
        'cannot be written safely: keep it out of the state, or make it '
        'tensors and plain values'
    )
