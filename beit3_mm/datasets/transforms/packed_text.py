# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Texts of a fixed number of ids from a corpus, for masked data modeling."""

import codecs
import re
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from beit3_mm.registry import TRANSFORMS
from beit3_mm.tokenizer import EOS_ID, Tokenizer, load_tokenizer

LOOK_AHEAD = 256  # bytes in which a line or word should begin
BYTES_PER_ID = 8  # more than texts have, so that one read is enough
MOST_READ = 64  # times as many bytes, where a corpus is full of blanks
SPACE = re.compile(rb'\s')
BLANK_LINES = re.compile(r'\n\s*\n')
CONTINUES, LEADS = 0b11000000, 0b10000000  # UTF-8: bytes within a character


@TRANSFORMS.register_module()
class PackText(BaseTransform):
    """Reads a text of `max_tokens` ids from a place drawn in a window.

    The text begins with the next line, where one begins within 256 bytes,
    and else with the next word; it goes on over the ends of documents and
    files until it has all of its ids, as RoBERTa's inputs do. `</s>` stands
    between documents. Only the end of the corpus makes it shorter.

    Args:
        model_file: SentencePiece model, read when the first text is.
        max_tokens: Length in ids, special ones included.

    Raises:
        ValueError: If `max_tokens` leaves no room for a word.

    Example:
        >>> dict(
        ...     type='beit3_mm.PackText',
        ...     model_file='beit3.spm',
        ...     max_tokens=512,
        ... )
    """

    def __init__(self, model_file: str, max_tokens: int) -> None:
        if max_tokens < 3:
            raise ValueError(f'{max_tokens=} must be at least 3')
        self.model_file = model_file
        self.max_tokens = max_tokens

    def transform(self, results: dict) -> dict | None:
        """Adds `text_ids`, int64 (L,), and `text_place`, where it begins.

        Args:
            results: Holds `text_corpus`, a `beit3_mm.datasets.TextCorpus`,
                and `text_window`, start and stop in bytes.

        Returns:
            `results`; or None, with `rejected` saying why, where the text is
            blank or not UTF-8.

        Raises:
            FileNotFoundError: If the model file is missing.
        """
        corpus = results['text_corpus']
        start, stop = results['text_window']
        begin = _next_text(corpus, int(np.random.randint(start, stop)))
        try:
            ids = self._read_ids(corpus, begin)
            if not ids:  # behind the last line: the last text of the corpus
                last = max(corpus.size - self.max_tokens * BYTES_PER_ID, 0)
                begin = _next_text(corpus, min(last, begin))
                ids = self._read_ids(corpus, begin)
        except UnicodeDecodeError as error:
            results['rejected'] = (
                f'{corpus.name(begin)}: not UTF-8 text ({error.reason} '
                f'{error.start} bytes on)'
            )
            return None
        if not ids:
            place = corpus.name(min(begin, corpus.size - 1))
            results['rejected'] = f'{place}: the text is blank'
            return None
        ids = Tokenizer.with_special(ids, self.max_tokens)
        results['text_ids'] = np.array(ids, np.int64)
        results['text_place'] = corpus.name(begin)
        return results

    def _read_ids(self, corpus: Any, begin: int) -> list[int]:
        """Returns ids without the special ones at the ends, enough or all.

        Raises:
            UnicodeDecodeError: If the text is not UTF-8.
        """
        size = first = self.max_tokens * BYTES_PER_ID
        while True:
            data = corpus.read(begin, size)
            ids = self._encode(data, is_end=begin + len(data) >= corpus.size)
            is_all = len(data) < size or size >= first * MOST_READ
            if len(ids) >= self.max_tokens - 2 or is_all:
                break
            size *= 2
        ids = ids[: self.max_tokens - 2]
        return ids[:-1] if ids and ids[-1] == EOS_ID else ids

    def _encode(self, data: bytes, is_end: bool) -> list[int]:
        decoder = codecs.getincrementaldecoder('utf-8')()
        text = decoder.decode(data, final=is_end)
        if not is_end:  # within a word
            text = text[: _last_space(text)]
        tokenizer = load_tokenizer(self.model_file)
        ids: list[int] = []
        for document in BLANK_LINES.split(text):
            words = tokenizer.encode(document)
            ids += [EOS_ID] * bool(ids and words) + words
        return ids


def _next_text(corpus: Any, position: int) -> int:
    """Returns where the next line begins, or else the next word."""
    if position == 0:
        return 0
    data = corpus.read(position - 1, LOOK_AHEAD)
    line = data.find(b'\n')
    if line >= 0:
        return position + line
    space = SPACE.search(data)
    if space:
        return position + space.start()
    # a script without spaces: the next character
    skipped = 1
    while skipped < len(data) and data[skipped] & CONTINUES == LEADS:
        skipped += 1
    return position - 1 + skipped


def _last_space(text: str) -> int:
    """Returns where the last word begins; the end where there is one word."""
    for place in range(len(text) - 1, -1, -1):
        if text[place].isspace():
            return place + 1
    return len(text)
