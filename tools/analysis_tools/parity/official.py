# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models of the sizes and with the official weights of a golden file."""

from collections.abc import Mapping

from torch import Tensor, nn

from beit3_mm.checkpoint import convert_official
from beit3_mm.engine.loading import load_weights
from beit3_mm.models.beit3 import BEiT3
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


def encoder_weights(file: GoldenFile) -> dict[str, Tensor]:
    """Returns a file's weights of the encoder by our names."""
    return convert_official(file.part('weights/'))[0]


def head_weights(
    file: GoldenFile, prefixes: Mapping[str, str]
) -> dict[str, Tensor]:
    """Returns a file's weights of a head by our names.

    Args:
        file: The file.
        prefixes: What official names begin with: what ours begin with.
    """
    return {
        ours + name: value
        for official, ours in prefixes.items()
        for name, value in file.part(f'weights/{official}').items()
    }


def load(
    model: nn.Module, weights: Mapping[str, Tensor], file: GoldenFile
) -> None:
    """Loads weights and switches a model to evaluation.

    Raises:
        ValueError: If the weights are not exactly the model's.
    """
    report = load_weights(model.eval(), weights, file.path)
    if not report.complete or report.unexpected:
        raise ValueError(f'it does not fit the model: {report}')


def build_encoder(file: GoldenFile) -> BEiT3:
    """Builds the released form of a file's `config` with its weights.

    Raises:
        ValueError: If the file lacks a size or a weight of the encoder.
    """
    model = BEiT3(**encoder_sizes(file))
    load(model, encoder_weights(file), file)
    return model
