# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Which weight of a checkpoint is which weight of a model."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor

from beit3_mm.checkpoint.key_table import OFFICIAL, OFFICIAL_PREFIX, VQKD
from beit3_mm.layers.embeddings import table_side

# What an encoder of ours is made of, behind its prefix.
PARTS = (
    *('vision_embedding', 'text_embedding', 'encoder'),
    'relative_positions',
)
PATCHES = 'vision_embedding.proj.weight'  # each encoder has one
POSITIONS = 'vision_embedding.positions.weight'
WORDS = 'text_embedding.words.weight'
TEXT_POSITIONS = 'text_embedding.positions.weight'
CODES = 'quantizer.codes'  # each visual tokenizer has them
OFFICIAL_CODES = VQKD.to_official(CODES)
WRAPPINGS = ('state_dict', 'model', 'module')


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message says why."""


def model_weights(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Returns the weights in a checkpoint of mmengine's (`state_dict`), in an
    official one (`model`), in DeepSpeed's (`module`), or in plain weights.
    """
    for key in WRAPPINGS:
        if isinstance(checkpoint.get(key), Mapping):
            return checkpoint[key]
    return checkpoint


def is_official(names: Iterable[str]) -> bool:
    """Tells whether names are those of an official BEiT-3 file."""
    return any(name.startswith(OFFICIAL_PREFIX) for name in names)


def encoder_prefixes(names: Iterable[str]) -> list[str]:
    """Returns what our names of each encoder begin with, such as
    `backbone.`.
    """
    return [x.removesuffix(PATCHES) for x in names if x.endswith(PATCHES)]


def match_names(
    names: Collection[str], model_names: Collection[str]
) -> dict[str, str]:
    """Returns the name that each weight of a file has in a model.

    Official names become ours; the encoder's become those of the model's
    encoder, wherever it is in the model. Other names stay.

    Args:
        names: Those of the file, without DDP's `module.`.
        model_names: Those of the model.
    """
    matched = {name: name for name in names}
    if is_official(names):
        matched = {name: OFFICIAL.to_ours(name) or name for name in names}
    source = encoder_prefixes(matched.values())
    target = encoder_prefixes(model_names)
    if len(source) == len(target) == 1 and source != target:
        for name, ours in matched.items():
            if _in_encoder(ours, source[0]):
                matched[name] = target[0] + ours.removeprefix(source[0])
    return matched


def match_tokenizer(
    names: Collection[str], model_names: Collection[str]
) -> dict[str, str]:
    """Returns the name that each weight of a visual tokenizer has in a model.

    Official names become ours; the tokenizer may be a part of the file, of
    the model, or both. Other names stay.

    Args:
        names: Those of the file, without DDP's `module.`.
        model_names: Those of the model.

    Returns:
        Nothing if the file or the model has no tokenizer.
    """
    parts = {name: name for name in names}
    if OFFICIAL_CODES in names:
        parts = {name: VQKD.to_ours(name) for name in names}
        parts = {name: ours for name, ours in parts.items() if ours}
    source, target = (
        [name.removesuffix(CODES) for name in x if name.endswith(CODES)]
        for x in (parts.values(), model_names)
    )
    if not len(source) == len(target) == 1:
        return {}
    matched = {name: name for name in names}
    for name, ours in parts.items():
        if ours.startswith(source[0]):
            matched[name] = target[0] + ours.removeprefix(source[0])
    return matched


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the encoder's weights alone, by the names that `BEiT3` has.

    Args:
        weights: Official weights, or ours of any model with one encoder.

    Raises:
        CheckpointError: If there is no encoder, or several.
    """
    matched = match_names(weights, [PATCHES])
    prefixes = encoder_prefixes(matched.values())
    if prefixes != ['']:
        raise CheckpointError(
            f'expected the weights of one BEiT-3 encoder (one name that ends '
            f'in {PATCHES!r}), found {len(prefixes)}; there are '
            f'{some(weights)}'
        )
    return {
        ours: weights[name]
        for name, ours in matched.items()
        if _in_encoder(ours, '')
    }


def check_encoder(
    weights: Mapping[str, Tensor], model: Mapping[str, Tensor], source: str
) -> None:
    """Compares the encoder in a file with that in a model, if each has one.

    Tables may have other rows, and patches another size.

    Args:
        weights: The file's weights by the names of the model.
        model: State dict of the model.
        source: The file.

    Raises:
        CheckpointError: If a weight has another shape, or if the file is of
            the released form and the model of the paper's, or the reverse.
    """
    prefixes = encoder_prefixes(model)
    if len(prefixes) != 1 or encoder_prefixes(weights) != prefixes:
        return
    (prefix,) = prefixes
    theirs, ours = (
        {
            name.removeprefix(prefix): tuple(value.shape)
            for name, value in x.items()
            if _in_encoder(name, prefix)
        }
        for x in (weights, model)
    )
    check_positions(theirs.get(POSITIONS, ()), source)
    misfits = [
        f'{name}: {theirs[name]} in the checkpoint, {shape} in the model'
        for name, shape in ours.items()
        if name in theirs and not _fits(name, theirs[name], shape)
    ]
    if misfits or shares_attention(theirs) != shares_attention(ours):
        raise CheckpointError(
            f'{source} does not fit this model: {_describe(theirs)} there, '
            f'{_describe(ours)} here'
            + (
                f'. {len(misfits)} weights of the encoder have another shape, '
                f'such as {misfits[0]}'
                if misfits
                else ''
            )
        )


def check_positions(shape: tuple[int, ...], source: str) -> None:
    """Raises a CheckpointError if a table of vision positions makes no
    square.
    """
    if len(shape) != 2 or table_side(shape[0]) is None:
        raise CheckpointError(
            f'{source}: vision positions of shape {shape} are no square of '
            'patches behind two unused rows and the CLS token'
        )


def shares_attention(names: Iterable[str]) -> bool:
    """Tells whether an encoder is of the paper's form, by our names."""
    return any('.q_proj.shared.' in name for name in names)


def count_layers(names: Iterable[str]) -> int:
    """Returns the number of encoder layers among names, official or ours."""
    layers = [
        int(match[1])
        for name in names
        if (match := re.search(r'encoder\.layers\.(\d+)\.', name))
    ]
    return max(layers, default=-1) + 1


def some(weights: Mapping[str, Any]) -> str:
    """Describes the first weights by name and shape."""
    described = [
        f'{name} {tuple(value.shape)}'
        if isinstance(value, Tensor)
        else f'{name} ({type(value).__name__})'
        for name, value in list(weights.items())[:3]
    ]
    return f'{len(weights)} entries: {", ".join(described)}, ...'


def _in_encoder(name: str, prefix: str) -> bool:
    part = name.removeprefix(prefix).partition('.')[0]
    return name.startswith(prefix) and part in PARTS


def _fits(name: str, theirs: tuple, ours: tuple) -> bool:
    if name == PATCHES:  # (C, 3, p, p)
        return theirs[:2] == ours[:2]
    if name in (POSITIONS, WORDS, TEXT_POSITIONS):  # (rows, C)
        return theirs[1:] == ours[1:]
    # Tables of relative positions that do not fit stay fresh.
    return theirs == ours or name.startswith('relative_positions')


def _describe(shapes: Mapping[str, tuple]) -> str:
    """Says of which size and form an encoder is."""
    channels, *_, patch_size = shapes[PATCHES]
    form = "the paper's" if shares_attention(shapes) else 'the released'
    return (
        f'{channels} channels, {count_layers(shapes)} layers, patch '
        f'{patch_size}, {form} form'
    )
