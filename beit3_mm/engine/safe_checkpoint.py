# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Checkpoints that load without unpickling and survive a kill."""

import errno
import logging
import os
import re
import shutil
import zipfile
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.fileio.backends import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import mkdir_or_exist
from torch import Tensor, nn

from beit3_mm.engine.fsdp2_strategy import FSDP2Strategy
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
    What is removed is there until the next file is: mmengine's hook deletes
    the oldest and the best checkpoint before it writes what replaces them.

    Attributes:
        outdated: Files that go behind the next write. All instances share
            them: mmengine makes one for each call.
    """

    outdated: ClassVar[list[Path]] = []

    def remove(self, filepath: str | Path) -> None:
        """Removes a file behind the next write."""
        self.outdated.append(Path(filepath))

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes to a file.

        Raises:
            OSError: If the disk is full, or it fails in another way; the
                unfinished file is removed.
        """
        path = Path(filepath)
        mkdir_or_exist(str(path.parent))
        unfinished = path.with_name(f'{path.name}.tmp')
        try:
            with unfinished.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full_disk(path, len(obj), error) from error
            raise
        unfinished.replace(path)
        for file in self.outdated:
            if file != path:
                file.unlink(missing_ok=True)
        self.outdated.clear()


def _full_disk(path: Path, size: int, error: OSError) -> OSError:
    free = shutil.disk_usage(path.parent).free
    return OSError(
        error.errno,
        f'the disk is full: {path} needs {size / 2**20:,.1f} MiB, '
        f'{free / 2**20:,.1f} MiB are free in its folder. It was not written, '
        'earlier checkpoints are as they were. Make room (keep fewer by '
        'default_hooks.checkpoint.max_keep_ckpts) and go on with --resume',
    )


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes checkpoints that are safe to read.

    mmengine's history of logged values becomes tensors (`LoadCheckpointHook`
    restores it), numpy values become Python's, so that
    `torch.load(weights_only=True)` reads the file; `mmengine.CheckpointHook`
    writes and removes through `AtomicBackend`.

    Raises:
        TypeError: If an object cannot be written safely.
    """

    # Behind hooks that add to a checkpoint, such as mmengine's EMAHook.
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Makes local checkpoint hooks write through `AtomicBackend`."""
        AtomicBackend.outdated.clear()  # of a run that failed
        strategy = getattr(runner, 'strategy', None)
        if not (strategy is None or isinstance(strategy, FSDP2Strategy)):
            return  # mmengine's strategies write in ways of their own
        for hook in runner.hooks:
            if (
                isinstance(hook, CheckpointHook)
                and hook.backend_args is None
                and '://' not in str(hook.out_dir)
            ):
                hook.backend_args = {'backend': 'atomic'}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turns everything into tensors and plain values.

        The position of what is saved behind a validation, as the best
        checkpoint is, is that of the run: `FlexibleRunner` counts an epoch or
        an iteration too many, which a resumed run would leave out.
        """
        if runner.message_hub.get_info('loop_stage') == 'val':
            checkpoint['meta'].update(epoch=runner.epoch, iter=runner.iter)
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
    """Returns the newest good checkpoint of a run, None where there is none.

    mmengine notes it in the file `last_checkpoint`. After a kill in that
    moment the note is empty or names the one before; so a file that is
    younger than the noted one, and of a higher number, counts first. A higher
    number alone does not: a run may have gone back to an earlier checkpoint.
    In a folder that was moved or copied, the file of the noted name in it
    counts; the copy must keep the times. `CheckpointHook`'s `out_dir` is known
    by the note. Files that are cut short are left out, and another one than
    the noted is taken, with a warning that names them.
    """
    found, behind = _candidates(work_dir)
    for path in found:
        if is_whole(path):
            if path in behind:
                _warn(
                    f'{path} counts: it is younger than what last_checkpoint '
                    'notes'
                )
            return str(path)
        _warn(
            f'{path} is cut short and left out: the checkpoint before it '
            'counts'
        )
    return None


def checkpoint_to_resume(work_dir: str) -> str | None:
    """Returns `latest_checkpoint`, None where nothing was saved.

    Raises:
        ValueError: If there are checkpoints, and all are cut short.
    """
    checkpoint = latest_checkpoint(work_dir)
    if checkpoint is None and (found := _candidates(work_dir)[0]):
        raise ValueError(
            f'all checkpoints of {work_dir} are cut short: '
            f'{", ".join(map(str, found))}. Put a good one there, or remove '
            'them to start anew'
        )
    return checkpoint


def is_whole(path: str | os.PathLike) -> bool:
    """Returns whether a checkpoint of torch's is not cut short.

    It is a zip file, whose table of contents stands at its end; no more of
    it is read, and nothing is unpickled.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return bool(file.namelist())
    except zipfile.BadZipFile:
        return False


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)


def _candidates(work_dir: str) -> tuple[list[Path], list[Path]]:
    """Returns checkpoints in the order in which they count, and those of
    them that were written behind the noted one.
    """
    noted = _noted(work_dir)
    folders = [Path(work_dir), *([noted.parent] if noted else [])]
    # One folder may be called by two names, such as a relative one.
    numbered = _numbered({x.resolve(): x for x in folders[::-1]}.values())
    if noted is None or not noted.is_file():
        return numbered, []
    behind = []
    if noted in numbered:
        time = noted.stat().st_mtime_ns
        higher = numbered[: numbered.index(noted)]
        behind = [path for path in higher if path.stat().st_mtime_ns > time]
    return list(dict.fromkeys((*behind, noted, *numbered))), behind


def _noted(work_dir: str) -> Path | None:
    """Returns the file that mmengine noted, which need not be there."""
    note = Path(work_dir, 'last_checkpoint')
    name = note.read_text().strip() if note.is_file() else ''
    if not name:
        return None
    here = Path(work_dir, Path(name).name)
    return here if here.is_file() else Path(name)


def _numbered(folders: Iterable[Path]) -> list[Path]:
    """Returns checkpoints by complete epochs and iterations, newest first."""
    found = []
    for path in (file for folder in folders for file in folder.glob('*.pth')):
        match = re.fullmatch(r'(?:epoch_(\d+)_?)?(?:iter_(\d+))?', path.stem)
        if match:
            found.append(([int(n or 0) for n in match.groups()], path))
    return [path for _, path in sorted(found, reverse=True)]


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
