# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models with their weights, ready to predict."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from beit3_mm.apis.settings import dataset_meta
from beit3_mm.engine.cli import read_config
from beit3_mm.engine.loading import CheckpointError, load_file, load_weights


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    trust_checkpoint: bool = False,
) -> nn.Module:
    """Builds a model and loads its weights.

    Args:
        config: A config file, or what was read from one.
        checkpoint: The weights, ours or official ones; None leaves those that
            the model was built with, which are random.
        device: Where it runs; by default a GPU where there is one.
        cfg_options: Changes of the config, by dotted keys.
        trust_checkpoint: Reads checkpoints that hold Python objects, which
            can run any code.

    Returns:
        The model, in evaluation mode, with `cfg` and `dataset_meta`, as
        models of the hosts' `init_model` have them.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the config has no model or an unknown option, the
            checkpoint (`CheckpointError`) is not of this model, or the device
            is not there.
    """
    device = _check_device(device)
    if isinstance(config, Config):
        config = deepcopy(config)
        config.merge_from_dict(dict(cfg_options or {}))
    else:
        config = read_config(config, dict(cfg_options or {}))
    if config.get('model') is None:
        raise ValueError(f'the config {config.filename} has no model')
    content = {}
    if checkpoint is not None:  # read first: it fails sooner
        content = load_file(checkpoint, trust=trust_checkpoint)
    scope = config.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(config.model)
    if checkpoint is not None:
        _load(model, content, str(checkpoint))
    model.cfg = config
    model.dataset_meta = dataset_meta(config, content)
    return model.to(device).eval()


def _load(model: nn.Module, content: dict, source: str) -> None:
    report = load_weights(model, content, source)
    if not report.complete:
        raise CheckpointError(
            f'{source} is not a checkpoint of this model: {report}'
        )
    if report.unexpected or report.resized:
        print_log(str(report))


def _check_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"{device=} is unknown; give 'cpu', 'cuda' or such as 'cuda:1'"
        ) from error
    if device.type == 'cuda' and (device.index or 0) >= (
        torch.cuda.device_count()
    ):
        raise ValueError(
            f'there is no device {device}: {torch.cuda.device_count()} GPUs '
            "are seen; 'cpu' is always there"
        )
    return device
