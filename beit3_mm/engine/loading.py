# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Reading checkpoints without unpickling, and loading models from them."""

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from beit3_mm.checkpoint import (
    CheckpointError,
    check_encoder,
    encoder_prefixes,
    match_names,
    match_tokenizer,
    model_weights,
    some,
)
from beit3_mm.engine.load_report import LoadReport
from beit3_mm.engine.sharding import shard_like

__all__ = [
    'CheckpointError',
    'load_file',
    'load_weights',
    'save_file',
    'use_safe_loading',
]
SAFETENSORS = '.safetensors'
STARTS = (b'PK', b'\x80')  # of torch's files: zip files, earlier pickles
_trust_files = False  # set by `use_safe_loading`


def load_file(
    path: str | os.PathLike,
    trust: bool | None = None,
    map_location: Any = 'cpu',
) -> dict:
    """Reads a checkpoint of tensors and plain values from a local file.

    Args:
        path: The file; of safetensors if its name ends so.
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
    if path.is_dir():
        raise CheckpointError(
            f'{path} is a folder. A .pth file is a zip file inside: if this '
            'is one that was unpacked after a download, get it again'
        )
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    _check_start(path)
    trust = _trust_files if trust is None else trust
    try:
        checkpoint = _read(path, trust, map_location)
    except UnpicklingError as error:
        objects = re.findall(r'GLOBAL (\S+) was not', str(error))
        raise CheckpointError(
            f'{path} is refused: it is no file of plain tensors and values'
            + (f' but holds {objects[0]} objects' if objects else '')
            + '. Reading it could run any code; if you trust its origin, '
            'insist with --trust-checkpoint'
        ) from error
    # Whatever torch makes of a damaged file, OSErrors without a name too
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise CheckpointError(
            f'{path} is damaged or no checkpoint: {reason}'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, no dict of weights'
        )
    return checkpoint


def _check_start(path: Path) -> None:
    """Refuses what is no file of torch's, such as a web page."""
    with path.open('rb') as file:
        start = file.read(16)
    if path.suffix != SAFETENSORS and not start.startswith(STARTS):
        raise CheckpointError(
            f'{path} is no checkpoint: it starts with {start!r}. Get it '
            'again; if it is of safetensors, its name must end in '
            f'{SAFETENSORS}'
        )


def _read(path: Path, trust: bool, map_location: Any) -> Any:
    if path.suffix != SAFETENSORS:
        return torch.load(
            path, map_location=map_location, weights_only=not trust
        )
    weights = safetensors.torch.load_file(path)
    if isinstance(map_location, str | torch.device):
        weights = {k: v.to(map_location) for k, v in weights.items()}
    return weights


def save_file(
    path: str | os.PathLike, weights: Mapping[str, Tensor], wrapping: str
) -> None:
    """Writes weights, whole or not at all.

    Args:
        path: The file; `.safetensors` holds the weights alone, any other a
            dict of torch's.
        weights: The weights.
        wrapping: Their key in that dict.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'{path.name}.tmp')
    if path.suffix == SAFETENSORS:
        # Each tensor must have memory of its own.
        weights = {k: v.clone().contiguous() for k, v in weights.items()}
        safetensors.torch.save_file(weights, unfinished, {'format': 'pt'})
    else:
        torch.save({wrapping: dict(weights)}, unfinished)
    unfinished.replace(path)


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
    model: nn.Module, checkpoint: Mapping[str, Any], source: str
) -> LoadReport:
    """Loads all weights whose names and shapes fit.

    Official BEiT-3 weights, and those of another task or of a part of a
    model, reach the model's encoder wherever it is; vision positions and
    patch kernels are resized. So do those of a visual tokenizer.

    Args:
        model: The model; it may be a part of the one that was saved.
        checkpoint: Weights by name, with or without DDP's `module.`, or what
            holds them (`model_weights`).
        source: Where they come from, for the report.

    Returns:
        The report; printing it lists each name that did not load.

    Raises:
        CheckpointError: If nothing fits, or if the model's encoder is of
            another size or form.
    """
    own, state_dict = model.state_dict(), model_weights(checkpoint)
    names = _names(state_dict, own)  # in the model: in the file
    weights = OrderedDict((k, state_dict[v]) for k, v in names.items())
    if hasattr(state_dict, '_metadata'):  # the versions of its modules
        weights._metadata = state_dict._metadata
    check_encoder(weights, own, source)
    missing, unexpected, mismatched = _load(model, weights)
    absent = set(missing)
    # Batch norm's counters are absent from many files; torch makes them up.
    counted = [name for name in own if 'num_batches_tracked' not in name]
    loaded = [name for name in counted if name not in absent]
    report = LoadReport(
        source=source,
        loaded=loaded,
        missing=[
            name
            for name in counted
            if name in absent and name not in mismatched
        ],
        mismatched=mismatched,
        unexpected=[names[name] for name in unexpected],
        resized=_resized(loaded, weights, own),
    )
    # Biases and norms of another model may fit an encoder's by chance.
    least = 2 if encoder_prefixes(own) else 0
    if not any(own[name].ndim >= least for name in loaded):
        raise CheckpointError(
            f'nothing in {source} fits {type(model).__name__}. The '
            f'checkpoint has {some(state_dict)}; the model has {some(own)}'
        )
    return report


def _load(
    model: nn.Module, weights: Mapping[str, Tensor]
) -> tuple[list[str], list[str], dict[str, tuple]]:
    """Loads what fits; returns names that are missing and unexpected, and
    those of other shapes with both of them.
    """
    mismatched = {}
    # These hooks run behind the model's own, which may resize a weight.
    handles = [
        module._register_load_state_dict_pre_hook(
            _set_aside(mismatched), with_module=True
        )
        for module in model.modules()
    ]
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    finally:
        for handle in handles:
            handle.remove()
    return missing, unexpected, mismatched


def _names(
    state_dict: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, str]:
    """Returns names in a model by those in a file."""
    prefix = 'module.'
    if not all(name.startswith(prefix) for name in state_dict):
        prefix = ''
    inner = {name.removeprefix(prefix): name for name in state_dict}
    matched = match_tokenizer(inner, own) or match_names(inner, own)
    return {new: inner[old] for old, new in matched.items()}


def _resized(
    loaded: list[str], weights: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, tuple]:
    shapes = {
        name: (tuple(weights[name].shape), tuple(own[name].shape))
        for name in loaded
        if name in weights
    }
    return {k: pair for k, pair in shapes.items() if pair[0] != pair[1]}


def _set_aside(mismatched: dict) -> Any:
    """Returns a hook that takes weights of another shape out of a load.

    Those of a sharded model are sharded as it is.
    """

    def hook(
        module: nn.Module, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        own = {**module._parameters, **module._buffers}
        for name, ours in own.items():
            theirs = state_dict.get(prefix + name)
            if ours is None or theirs is None:
                continue
            if theirs.shape == ours.shape:
                state_dict[prefix + name] = shard_like(theirs, ours)
                continue
            mismatched[prefix + name] = tuple(theirs.shape), tuple(ours.shape)
            del state_dict[prefix + name]

    return hook
