# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models from pretrained files, with a report in the log."""

import logging
import os

from mmengine.logging import print_log
from torch import nn

from beit3_mm.checkpoint import (
    VIT_ADAPTER,
    CheckpointError,
    encoder_prefixes,
    match_names,
    model_weights,
    some,
)
from beit3_mm.engine.load_report import LoadReport
from beit3_mm.engine.loading import load_file, load_weights


def load_pretrained(
    model: nn.Module, path: str | os.PathLike, prefix: str | None = None
) -> LoadReport:
    """Loads BEiT-3's weights from a file into a model that holds its encoder.

    What was loaded, is fresh and is unused goes to the log.

    Args:
        model: Any model with one encoder.
        path: An official file or one of ours, of any task, or safetensors.
        prefix: What names must begin with to count, for files with several
            encoders, such as `teacher`; it is taken off.

    Returns:
        What is logged.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it cannot be read, holds no encoder or several,
            or does not fit.
    """
    weights = model_weights(load_file(path))
    if prefix:
        prefix = f'{prefix.removesuffix(".")}.'
        weights = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
    found = encoder_prefixes(match_names(weights, ()).values())
    if len(found) != 1:
        raise CheckpointError(
            f'{path} must hold one BEiT-3 encoder, official or ours, but '
            f'holds {len(found)} {found or ""}; it has {some(weights)}'
            + (' Choose one by prefix=...' if found else '')
        )
    report = load_weights(model, weights, str(path))
    _log(report)
    return report


def load_adapter(model: nn.Module, path: str | os.PathLike) -> None:
    """Loads the adapter part of an official ViT-Adapter checkpoint.

    The ViT's own weights in it belong to another model and are not loaded.

    Args:
        model: A `BEiT3Adapter`.
        path: A file of czczup/ViT-Adapter, of a backbone or of a segmentor.

    Raises:
        CheckpointError: If nothing of it fits.
    """
    weights = {}
    for name, value in model_weights(load_file(path)).items():
        ours = VIT_ADAPTER.to_ours(name.removeprefix('backbone.'))
        if ours is not None:
            weights[ours] = value
    _log(load_weights(model, weights, str(path)))


def _log(report: LoadReport) -> None:
    level = logging.INFO if report.complete else logging.WARNING
    print_log(str(report), logger='current', level=level)
