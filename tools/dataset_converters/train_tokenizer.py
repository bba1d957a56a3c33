# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Trains a tokenizer: `train_tokenizer.py CORPUS... --out new.spm`.

The paper's has 64k pieces (arXiv 2208.10442, section 2.3). Ids come out in
the released models' layout, and the same lines give the same file.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

from beit3_mm.tokenizer import Tokenizer

MAX_BYTES = 4192  # of a line: SentencePiece's own limit
# SentencePiece refuses to draw fewer lines than that.
MIN_SAMPLE = 101


class Corpus:
    """The lines of text files; counts and shows what has been read.

    Args:
        files: UTF-8 text, one sentence or paragraph a line.

    Raises:
        FileNotFoundError: If a file is missing.
    """

    def __init__(self, files: list[Path]) -> None:
        for path in files:
            if not path.is_file():
                raise FileNotFoundError(f'{path}: no such text file')
        self.files = files
        self.lines = self.too_long = 0
        # SentencePiece turns an error of its iterator into one of its own.
        self.error: ValueError | None = None

    def __iter__(self) -> Iterator[str]:
        """Yields the lines that are neither blank nor too long.

        Raises:
            ValueError: If a file is not UTF-8; it is kept as `error`.
        """
        total = sum(path.stat().st_size for path in self.files)
        done = shown = 0
        for path in self.files:
            with path.open('rb') as file:
                for number, line in enumerate(file, 1):
                    yield from self._read(path, number, line.strip())
                    done += len(line)
                    if done * 10 // total > shown:
                        shown = done * 10 // total
                        print(
                            f'reading: {10 * shown}%, {self.lines:,} lines',
                            flush=True,
                        )

    def _read(self, path: Path, number: int, line: bytes) -> Iterator[str]:
        if len(line) > MAX_BYTES:
            self.too_long += 1
        elif line:
            self.lines += 1
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                self.error = ValueError(
                    f'{path}, line {number}: not UTF-8 text ({error.reason} '
                    f'at byte {error.start}); convert the file'
                )
                raise self.error from error


def train(
    corpus: Corpus, out: Path, vocab_size: int, sample: int, coverage: float
) -> None:
    """Trains a unigram model and writes it to `out`.

    Raises:
        ValueError: If the corpus is empty or not UTF-8, or the vocabulary does
            not fit it.
    """
    sentencepiece.set_random_generator_seed(0)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus),
            model_writer=model,
            model_type='unigram',
            vocab_size=vocab_size,
            unk_id=0,  # where beit3_mm.tokenizer expects them
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            character_coverage=coverage,
            input_sentence_size=sample,
            shuffle_input_sentence=True,
            max_sentence_length=MAX_BYTES,
            num_threads=16,  # fixed: the sums depend on it
        )
    except RuntimeError as error:
        raise corpus.error or ValueError(
            _explain(str(error), corpus, vocab_size)
        ) from error
    partial = out.with_name(out.name + '.partial')
    partial.write_bytes(model.getvalue())
    os.replace(partial, out)


def _explain(error: str, corpus: Corpus, vocab_size: int) -> str:
    """Says what SentencePiece's error means for the arguments."""
    names = str(corpus.files[0])
    if len(corpus.files) > 1:
        names += f' and {len(corpus.files) - 1} more'
    if not corpus.lines or 'all_chars_count' in error:
        return f'{names}: no text ({corpus.too_long} lines are too long)'
    if too_large := re.search(r'value <= (\d+)', error):
        return (
            f'--vocab-size {vocab_size} is too large for {corpus.lines} lines '
            f'of {names}: at most {too_large[1]}, or give more text'
        )
    if too_small := re.search(r'(\d+) vs (\d+)', error):
        return (
            f'--vocab-size {vocab_size} is too small for the characters of '
            f'{names}: at least {too_small[2]}, or a lower --coverage'
        )
    return f'{names}: SentencePiece failed: {error}'


def parse_args() -> argparse.Namespace:
    """Reads the command line; wrong numbers end with a message."""
    parser = argparse.ArgumentParser(
        description='Train a SentencePiece tokenizer on text files.'
    )
    parser.add_argument(
        'corpus', nargs='+', type=Path, help='UTF-8 text, a sentence a line'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='model file to write'
    )
    parser.add_argument(
        '--vocab-size',
        type=int,
        default=64000,
        help='pieces, <unk>, <s> and </s> included (default: %(default)s, '
        "the paper's)",
    )
    parser.add_argument(
        '--sample',
        type=int,
        default=10_000_000,
        help='train on that many lines, drawn at random, where there are '
        'more: all are held in memory (default: %(default)s)',
    )
    parser.add_argument(
        '--coverage',
        type=float,
        default=0.9995,
        help='share of the characters that get a piece; rarer ones become '
        '<unk> (default: %(default)s)',
    )
    args = parser.parse_args()
    if args.sample < MIN_SAMPLE:
        parser.error(f'--sample {args.sample}: at least {MIN_SAMPLE}')
    if args.vocab_size < 4:
        parser.error(f'--vocab-size {args.vocab_size}: at least 4')
    if not 0 < args.coverage <= 1:
        parser.error(f'--coverage {args.coverage}: more than 0, at most 1')
    return args


def main() -> None:
    """Trains; wrong input ends with one message."""
    args = parse_args()
    try:
        if args.out.exists():
            raise ValueError(f'--out {args.out} exists: choose another name')
        corpus = Corpus(args.corpus)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        train(corpus, args.out, args.vocab_size, args.sample, args.coverage)
        tokenizer = Tokenizer(args.out)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    if corpus.too_long:
        print(
            f'left out: {corpus.too_long:,} lines of more than {MAX_BYTES} '
            'bytes; break them up to use them'
        )
    print(
        f'tokenizer: {args.out} ({args.vocab_size} pieces, '
        f'{tokenizer.num_ids} ids, mask {tokenizer.mask_id})'
    )


if __name__ == '__main__':
    main()
