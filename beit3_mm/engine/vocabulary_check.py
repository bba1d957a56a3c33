# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Model, tokenizer and list of answers must have the same numbers."""

from typing import Any

from torch import nn

from beit3_mm.engine.cli import dicts
from beit3_mm.evaluation.vqa_answers import read_answers
from beit3_mm.layers.embeddings import TextEmbedding
from beit3_mm.tokenizer import load_tokenizer


def check_vocabularies(model: nn.Module, *configs: Any) -> None:
    """Compares tokenizers and lists of answers with a model.

    An id behind the word table would end a run without a word about where it
    came from; a captioner with another mask would write nonsense, and a list
    of other answers would turn right ones into wrong ones.

    Args:
        model: The model; one without texts fits any tokenizer, one that
            answers no questions any list.
        *configs: Of data, metrics or models, None for what is not there; a
            tokenizer is the `model_file` at any depth, a list of answers
            the `answer_file`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is no tokenizer or list, or not one for this
            model.
    """
    parts = list(dicts(configs))
    for file in _values(parts, 'model_file'):
        _check_tokenizer(model, file)
    for file in _values(parts, 'answer_file'):
        _check_answers(model, file)


def _values(parts: list[dict], key: str) -> list[str]:
    return sorted({part.get(key) for part in parts} - {None})


def _check_tokenizer(model: nn.Module, file: str) -> None:
    sizes = [
        module.words.num_embeddings
        for module in model.modules()
        if isinstance(module, TextEmbedding)
    ]
    if not sizes:
        return
    tokenizer = load_tokenizer(file)
    if tokenizer.num_ids > min(sizes):
        raise ValueError(
            f'{file} has {tokenizer.num_ids} ids, but the model '
            f'vocab_size={min(sizes)}: take the tokenizer that the model '
            'was trained with, or, before training, set vocab_size of '
            'model.backbone (and of a captioning head)'
        )
    for module in model.modules():
        if not hasattr(module, 'beam_search'):
            continue
        mask_id = module.beam_search.mask_id
        if mask_id != tokenizer.mask_id:
            raise ValueError(
                f'the mask of {file} is {tokenizer.mask_id}, but the '
                f'model has beam_search.mask_id={mask_id}: take the '
                'tokenizer that the model was trained with, or, if it '
                'is, set model.beam_search.mask_id'
            )


def _check_answers(model: nn.Module, file: str) -> None:
    for module in model.modules():
        if not hasattr(module, 'num_answers'):
            continue
        number = len(read_answers(file))
        if number != module.num_answers:
            raise ValueError(
                f'{file} has {number} answers, the model '
                f'{module.num_answers}: it must be the file that the model '
                'was trained with; before training, set '
                'model.head.num_answers'
            )
