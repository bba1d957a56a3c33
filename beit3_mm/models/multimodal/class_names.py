# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Names of classes as texts.

C classes, L tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.utils import get_object_from_string
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from beit3_mm.text_lines import read_lines


def read_class_names(source: Sequence[str] | str) -> list[str]:
    """Returns the names of classes in the order of their labels.

    Args:
        source: The names themselves; a text file (`.txt`, UTF-8) with one
            name a line; or where a Python package has them, such as
            `mmpretrain.datasets.categories.IMAGENET_CATEGORIES`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If nothing is found there, a name is empty, or a file is
            not in UTF-8.
    """
    names = source
    if isinstance(source, str):
        if source.endswith('.txt'):
            if not Path(source).is_file():
                raise FileNotFoundError(f'there is no file {source} of names')
            names = read_lines(source)
        elif source:
            names = get_object_from_string(source)
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise ValueError(
            f'no class names at {source!r}: give a list of them, a .txt file, '
            'or the place of a list such as package.module.NAMES'
        )
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'class {label} of {source!r} is called {name!r}')
    return list(names)


def tokenize_names(
    names: Sequence[str], model_file: str, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Tokenises names as texts are.

    Args:
        names: C names.
        model_file: SentencePiece model of the tokenizer.
        max_tokens: Longer ones are cut; `<s>` and `</s>` count.

    Returns:
        Ids `(C, L)` int64, padded to the longest, and their padding mask
        `(C, L)` bool, True = padding.
    """
    from beit3_mm.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model_file)
    texts = [
        torch.tensor(
            tokenizer.with_special(tokenizer.encode(name), max_tokens)
        )
        for name in names
    ]
    ids = pad_sequence(texts, True, tokenizer.pad_id)
    lengths = torch.tensor([len(text) for text in texts])
    return ids, torch.arange(ids.shape[1]) >= lengths[:, None]
