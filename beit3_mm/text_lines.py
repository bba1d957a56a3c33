# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Lists that are text files, an entry a line."""

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
