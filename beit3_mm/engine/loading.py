# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Reading checkpoints without unpickling, and reports of what was loaded."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

_trust_files = False  # set by `use_safe_loading`


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message says why."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the names in a model and in a checkpoint.

    Attributes:
        source: Where the weights came from.
        loaded: Names in both, of the same shape.
        missing: Names of the model that the checkpoint does not have.
        mismatched: Names in both whose shapes differ, with the checkpoint's
            and the model's shape; the model keeps its own values.
        unexpected: Names of the checkpoint that the model does not have.
    """

    source: str
    loaded: Sequence[str]
    missing: Sequence[str]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: Sequence[str]

    @property
    def complete(self) -> bool:
        """Whether every weight of the model was loaded."""
        return not self.missing and not self.mismatched

    def __str__(self) -> str:
        """Lists all names that did not load."""
        lines = [f'{len(self.loaded)} weights loaded from {self.source}']
        if self.missing:
            lines.append(f'{len(self.missing)} not in the checkpoint, kept:')
            lines += [f'  {name}' for name in self.missing]
        if self.mismatched:
            lines.append(f'{len(self.mismatched)} of another shape, kept:')
            lines += [
                f'  {name}: {theirs} in the checkpoint, {ours} in the model'
                for name, (theirs, ours) in self.mismatched.items()
            ]
        if self.unexpected:
            lines.append(f'{len(self.unexpected)} not in the model, unused:')
            lines += [f'  {name}' for name in self.unexpected]
        return '\n'.join(lines)


def load_file(
    path: str | os.PathLike,
    trust: bool | None = None,
    map_location: Any = 'cpu',
) -> dict:
    """Reads a checkpoint of tensors and plain values from a local file.

    Args:
        path: The file.
        trust: Whether Python objects may be unpickled, which can run any
            code. By default what `use_safe_loading` was told, else False.
        map_location: Where the tensors go, as in `torch.load`.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is an address, damaged, or needs unpickling.
    """
    if '://' in str(path):
        raise CheckpointError(
            f'{path} is an address: download it and name the file'
        )
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    trust = _trust_files if trust is None else trust
    try:
        checkpoint = torch.load(
            path, map_location=map_location, weights_only=not trust
        )
    except UnpicklingError as error:
        objects = re.findall(r'GLOBAL (\S+) was not', str(error))
        raise CheckpointError(
            f'{path} is refused: it is no file of plain tensors and values'
            + (f' but holds {objects[0]} objects' if objects else '')
            + '. Reading it could run any code; if you trust its origin, '
            'insist with --trust-checkpoint'
        ) from error
    except OSError:
        raise
    except Exception as error:  # whatever torch makes of a damaged file
        reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise CheckpointError(
            f'{path} is damaged or no checkpoint: {reason}'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, no dict of weights'
        )
    return checkpoint


def use_safe_loading(trust: bool = False) -> None:
    """Makes everything in this process read checkpoints as `load_file` does.

    mmengine falls back to unpickling whatever file fails to load safely;
    after this call it does not, whichever way the file is named.

    Args:
        trust: Whether to unpickle files that need it all the same.
    """
    global _trust_files
    _trust_files = trust
    # torch's own switch; it holds for downloads and worker processes too.
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '0' if trust else '1'
    # torch refuses every file where both are set.
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)

    def load_from_local(filename: str, map_location: Any = None) -> dict:
        return load_file(filename, map_location=map_location)

    CheckpointLoader.register_scheme('', load_from_local, force=True)


def load_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> LoadReport:
    """Loads all weights whose names and shapes fit.

    Args:
        model: The model; it may be a part of the one that was saved.
        state_dict: Weights by name, with or without DDP's `module.`.
        source: Where they come from, for the report.

    Returns:
        The report; printing it lists each name that did not load.

    Raises:
        CheckpointError: If nothing at all fits.
    """
    prefix = 'module.'
    if all(name.startswith(prefix) for name in state_dict):
        state_dict = {
            name.removeprefix(prefix): value
            for name, value in state_dict.items()
        }
    mismatched = {}
    # These hooks run behind the model's own, which may resize a weight.
    handles = [
        module._register_load_state_dict_pre_hook(
            _set_aside(mismatched), with_module=True
        )
        for module in model.modules()
    ]
    try:
        missing, unexpected = model.load_state_dict(state_dict, strict=False)
    finally:
        for handle in handles:
            handle.remove()
    # Batch norm's counters are absent from many files; torch makes them up.
    names = [n for n in model.state_dict() if 'num_batches_tracked' not in n]
    absent = set(missing)
    report = LoadReport(
        source=source,
        loaded=[name for name in names if name not in absent],
        missing=[
            name for name in names if name in absent and name not in mismatched
        ],
        mismatched=mismatched,
        unexpected=unexpected,
    )
    if not report.loaded:
        raise CheckpointError(
            f'nothing in {source} fits {type(model).__name__}. The '
            f'checkpoint has {_some(state_dict)}; the model has '
            f'{_some(model.state_dict())}'
        )
    return report


def _set_aside(mismatched: dict) -> Any:
    """Returns a hook that takes weights of another shape out of a load."""

    def hook(
        module: nn.Module, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        own = {**module._parameters, **module._buffers}
        for name, ours in own.items():
            theirs = state_dict.get(prefix + name)
            if ours is None or theirs is None or theirs.shape == ours.shape:
                continue
            mismatched[prefix + name] = tuple(theirs.shape), tuple(ours.shape)
            del state_dict[prefix + name]

    return hook


def _some(state_dict: Mapping[str, Tensor]) -> str:
    """Describes the first weights by name and shape."""
    some = [
        f'{name} {tuple(value.shape)}'
        if isinstance(value, Tensor)
        else f'{name} ({type(value).__name__})'
        for name, value in list(state_dict.items())[:3]
    ]
    return f'{len(state_dict)} entries: {", ".join(some)}, ...'
