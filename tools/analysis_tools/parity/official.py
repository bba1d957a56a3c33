# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models of the sizes and with the official weights of a golden file."""

from torch import nn

from beit3_mm.engine.loading import load_weights
from parity.golden_file import GoldenFile

ENCODER_KEYS = (
    'embed_dims',
    'num_layers',
    'num_heads',
    'feedforward_channels',
    'img_size',
    'patch_size',
    'vocab_size',
    'max_text_positions',
)


def encoder_sizes(file: GoldenFile) -> dict[str, int]:
    """Returns the arguments of `BEiT3` that a file's `config` states.

    Raises:
        ValueError: If one is missing.
    """
    missing = [key for key in ENCODER_KEYS if key not in file.config]
    if missing:
        raise ValueError(f'config has no {missing}')
    return {key: file.config[key] for key in ENCODER_KEYS}


def load(
    model: nn.Module, file: GoldenFile, unused: tuple[str, ...] = ()
) -> None:
    """Loads a file's official weights and switches a model to evaluation.

    Args:
        model: A model whose encoder is `backbone` and whose head is `head`.
        file: The file.
        unused: Parts of the names of weights that the model does not have.

    Raises:
        ValueError: If the weights are not exactly the model's.
    """
    report = load_weights(model.eval(), file.part('weights/'), file.path)
    left = [x for x in report.unexpected if not any(u in x for u in unused)]
    if not report.complete or left:
        raise ValueError(f'it does not fit the model: {report}')
