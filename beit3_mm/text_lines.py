# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Text files, and lists that are text files, an entry a line."""

import codecs
from pathlib import Path


def read_lines(path: str | Path) -> list[str]:
    """Returns the lines of a text file, none if it is empty.

    A byte order mark, which some editors write, is no part of the first one.

    Args:
        path: A file in UTF-8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is in another encoding.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is not UTF-8 text ({error.reason} at byte '
            f'{error.start}): save it as UTF-8'
        ) from error
    # Not `splitlines`, which also splits at separators inside of entries
    text = text.removesuffix('\n')
    return text.split('\n') if text else []


def mark_size(path: str | Path) -> int:
    """Returns the bytes of the byte order mark in front of a text, 3 or 0.

    For files that are too large to be read at once.

    Args:
        path: A file in UTF-8.

    Raises:
        ValueError: If its mark is that of UTF-16 or UTF-32.
    """
    with open(path, 'rb', buffering=0) as file:
        head = file.read(3)
    # That of UTF-32 begins as one of these, or with a zero
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b'\0\0'):
        raise ValueError(f'{path} is in UTF-16 or UTF-32: save it as UTF-8')
    return 3 if head == codecs.BOM_UTF8 else 0
