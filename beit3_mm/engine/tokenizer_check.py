# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Model and tokenizer must have the same ids."""

from typing import Any

from torch import nn

from beit3_mm.engine.cli import dicts
from beit3_mm.layers.embeddings import TextEmbedding
from beit3_mm.tokenizer import load_tokenizer


def check_tokenizers(model: nn.Module, *configs: Any) -> None:
    """Compares the tokenizers that configs name with a model.

    An id behind the word table would end a run without a word about where it
    came from, and a captioner with another mask would write nonsense.

    Args:
        model: The model; one without texts fits any tokenizer.
        *configs: Of data, metrics or models, None for what is not there; a
            tokenizer is the `model_file` at any depth.

    Raises:
        FileNotFoundError: If a tokenizer's file is missing.
        ValueError: If a file is no tokenizer, or not one for this model.
    """
    sizes = [
        module.words.num_embeddings
        for module in model.modules()
        if isinstance(module, TextEmbedding)
    ]
    masks = [
        module.beam_search.mask_id
        for module in model.modules()
        if hasattr(module, 'beam_search')
    ]
    files = {part.get('model_file') for part in dicts(configs)} - {None}
    for file in sorted(files) if sizes else ():
        tokenizer = load_tokenizer(file)
        if tokenizer.num_ids > min(sizes):
            raise ValueError(
                f'{file} has {tokenizer.num_ids} ids, but the model '
                f'vocab_size={min(sizes)}: take the tokenizer that the model '
                'was trained with, or, before training, set vocab_size of '
                'model.backbone (and of a captioning head)'
            )
        for mask_id in masks:
            if mask_id != tokenizer.mask_id:
                raise ValueError(
                    f'the mask of {file} is {tokenizer.mask_id}, but the '
                    f'model has beam_search.mask_id={mask_id}: take the '
                    'tokenizer that the model was trained with, or, if it '
                    'is, set model.beam_search.mask_id'
                )
