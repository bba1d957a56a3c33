# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Whole files, official to ours and back."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from beit3_mm.checkpoint.key_table import (
    BACKBONE,
    HEADS,
    OFFICIAL,
    OFFICIAL_PREFIX,
    TASKS,
    KeyTable,
    key_table,
)
from beit3_mm.checkpoint.matching import (
    PATCHES,
    POSITIONS,
    TEXT_POSITIONS,
    WORDS,
    CheckpointError,
    check_positions,
    count_layers,
    encoder_prefixes,
    is_official,
    match_names,
    shares_attention,
    some,
)
from beit3_mm.layers.embeddings import resize_positions, table_side

# A head that predicts words is part of pretraining, whatever else such a file
# may hold under names of its own; it serves for any task.
GENERAL = ('pretraining', 'captioning')


@dataclass(frozen=True)
class Conversion:
    """Renamed weights.

    Attributes:
        weights: The weights by their new names.
        task: Task of the head among them, None without a known one.
        fresh: New names that the model of the task has besides.
        unused: Old names that have no new one.
    """

    weights: dict[str, Tensor]
    task: str | None
    fresh: list[str]
    unused: list[str]


def convert_official(
    weights: Mapping[str, Tensor],
    task: str | None = None,
    source: str = 'the checkpoint',
) -> Conversion:
    """Renames official weights to ours.

    Args:
        weights: Official weights.
        task: Task of our model; by default that of the head in the file. A
            file of pretraining, or without a head, serves for any.
        source: The file, for errors.

    Raises:
        CheckpointError: If they are not official, not of one model, or of
            another task.
        ValueError: If there is no such task.
    """
    if not is_official(weights):
        raise CheckpointError(
            f'{source} is no official BEiT-3 file, in which names begin with '
            f'{OFFICIAL_PREFIX!r}; it has {some(weights)}'
        )
    renamed = {OFFICIAL.to_ours(name): name for name in weights}
    renamed.pop(None, None)
    return _convert(weights, renamed, task, source, official=False)


def convert_ours(
    weights: Mapping[str, Tensor],
    task: str | None = None,
    source: str = 'the checkpoint',
) -> Conversion:
    """Renames our weights, of any model with one encoder, to official ones.

    Args:
        weights: Our weights.
        task: As in `convert_official`.
        source: The file, for errors.

    Raises:
        CheckpointError: If they hold no encoder of the released form, are
            not of one model, or of another task.
        ValueError: If there is no such task.
    """
    if is_official(weights):
        raise CheckpointError(f'{source} has official names already')
    prefixes = encoder_prefixes(weights)
    if len(prefixes) != 1:
        raise CheckpointError(
            f'{source} must hold one BEiT-3 encoder of ours (one name that '
            f'ends in {PATCHES!r}), but holds {len(prefixes)}; it has '
            f'{some(weights)}'
        )
    fused = any('.ffn.vision_language.' in name for name in weights)
    if fused or shares_attention(weights):
        raise CheckpointError(
            f"{source} is of the paper's form, with shared attention and "
            'vision-language experts; the official code has no such model, '
            'and so no names for it'
        )
    matched = match_names(weights, [BACKBONE + PATCHES])
    renamed = {ours: name for name, ours in matched.items()}
    return _convert(weights, renamed, task, source, official=True)


def recognise_task(
    names: Collection[str], source: str = 'the checkpoint'
) -> str | None:
    """Tells the task of a head by our names of its weights.

    Args:
        names: Names of a model or file, the encoder's included.
        source: The file, for errors.

    Returns:
        One of `TASKS`, or None if there is no known head.

    Raises:
        CheckpointError: If there are heads of several tasks.
    """
    found = {}
    for task, pairs in HEADS.items():
        head = KeyTable(pairs).expand(leaf=('weight', 'bias')).keys()
        if common := head & set(names):
            # Captioning's head is the smaller part of pretraining's.
            found[task] = (len(common), -len(head))
    kinds = {GENERAL if task in GENERAL else task for task in found}
    if len(kinds) > 1:
        raise CheckpointError(
            f'{source} holds heads of several tasks: {sorted(found)}'
        )
    return max(found, key=found.get, default=None)


def resize_images(
    weights: Mapping[str, Tensor], img_size: int
) -> dict[str, Tensor]:
    """Resizes the vision positions to another input size, in float32.

    Args:
        weights: Weights of one encoder, by official names or ours.
        img_size: Side of the images in pixels.

    Returns:
        The weights; the table keeps its dtype.

    Raises:
        ValueError: If the size does not divide by the patch size.
    """
    names = {v: k for k, v in match_names(weights, [PATCHES]).items()}
    patch_size = weights[names[PATCHES]].shape[-1]
    if img_size < patch_size or img_size % patch_size:
        raise ValueError(f'{img_size=} must be a multiple of {patch_size=}')
    table = weights[names[POSITIONS]]
    source, target = table_side(len(table)), img_size // patch_size
    resized = resize_positions(table, (source, source), (target, target))
    return {**weights, names[POSITIONS]: resized}


def _convert(
    weights: Mapping[str, Tensor],
    renamed: Mapping[str, str],
    task: str | None,
    source: str,
    official: bool,
) -> Conversion:
    """Keeps what the model of a task has.

    Args:
        weights: All weights of the file.
        renamed: Our names to those in the file.
        task: The task wanted, if any.
        source: The file, for errors.
        official: Whether the result has official names.
    """
    renamed = {  # a file may hold plain values beside its weights
        ours: name
        for ours, name in renamed.items()
        if isinstance(weights[name], Tensor)
    }
    task = _check_task(renamed, task, source)
    _check_shapes(
        {ours: tuple(weights[name].shape) for ours, name in renamed.items()},
        source,
    )
    names = {
        ours: theirs if official else ours
        for ours, theirs in key_table(count_layers(renamed), task).items()
    }
    kept = {ours: name for ours, name in renamed.items() if ours in names}
    used = set(kept.values())
    return Conversion(
        weights={names[ours]: weights[name] for ours, name in kept.items()},
        task=task,
        fresh=[new for ours, new in names.items() if ours not in kept],
        unused=[name for name in weights if name not in used],
    )


def _check_task(
    names: Collection[str], task: str | None, source: str
) -> str | None:
    """Returns the task wanted, or else that of the file."""
    if task not in (None, *TASKS):
        raise ValueError(f'{task=} must be one of {list(TASKS)}')
    found = recognise_task(names, source)
    if task is None or found in (None, task, *GENERAL):
        return task or found
    raise CheckpointError(
        f'{source} is a model of {found}, not of {task}. Convert it without '
        'a task: models of every task take its encoder'
    )


def _check_shapes(shapes: Mapping[str, tuple], source: str) -> None:
    """Checks that all weights are of one model, vision included."""
    for name in (PATCHES, POSITIONS):
        if BACKBONE + name not in shapes:
            official = OFFICIAL.to_official(BACKBONE + name)
            raise CheckpointError(
                f'{source} holds no vision encoder: it has no {name}, '
                f'officially {official}'
            )
    check_positions(shapes[BACKBONE + POSITIONS], source)
    kinds = defaultdict(dict)  # layers and experts aside: shape: name
    for name, shape in shapes.items():
        if name.startswith(f'{BACKBONE}encoder.'):
            kind = re.sub(r'\.layers\.\d+|\.(vision|language)\b', '', name)
            kinds[kind].setdefault(shape, name)
        table = name.removeprefix(BACKBONE)
        if table == PATCHES:
            kinds['channels'].setdefault(shape[:1], name)
        elif table in (POSITIONS, WORDS, TEXT_POSITIONS):
            kinds['channels'].setdefault(shape[1:], name)
    for found in kinds.values():
        if len(found) > 1:
            some_names = ', '.join(
                f'{name} {shapes[name]}' for name in found.values()
            )
            raise CheckpointError(
                f'{source} is a mixture of models of other sizes: {some_names}'
            )
