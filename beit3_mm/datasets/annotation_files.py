# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Annotation files, read with errors that name the file and the place."""

import json
from collections.abc import Iterator
from typing import Any

from mmengine import fileio


def read_json(path: str) -> Any:
    """Returns the content of a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, such as a truncated file.
    """
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path}, line {error.lineno}, column {error.colno}: '
            f'{_not_json(error)}'
        ) from error


def read_json_lines(path: str) -> Iterator[tuple[str, dict]]:
    """Yields the objects of a file that has one a line, and their places.

    Blank lines are left out.

    Yields:
        The place, 'FILE, line N', and the object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is no JSON object.
    """
    # Not `splitlines`, which also splits at separators inside of strings
    for number, line in enumerate(_read_text(path).split('\n'), 1):
        if not line.strip():
            continue
        where = f'{path}, line {number}'
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f'{where}: {_not_json(error)}') from error
        if not isinstance(record, dict):
            raise ValueError(
                f'{where}: expected an object {{...}}, {line:.60}'
            )
        yield where, record


def get_field(
    record: Any, key: str, kind: type | tuple[type, ...], where: str
) -> Any:
    """Returns a value of a JSON object.

    Args:
        record: What should be an object with this key.
        key: The key.
        kind: What the value should be; True and False are no ints.
        where: The place, for errors.

    Raises:
        ValueError: If there is no such value.
    """
    if type(record) is not dict:
        raise ValueError(
            f'{where}: expected an object with {key!r}, not {record!r:.60}'
        )
    value = record.get(key)
    # What JSON holds has just these types, so that no subclass matters.
    if type(value) is kind or (type(kind) is tuple and type(value) in kind):
        return value
    if key not in record:
        raise ValueError(
            f'{where}: there is no {key!r}; it has {sorted(record)}'
        )
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = ' or '.join(k.__name__ for k in kinds)
    raise ValueError(f'{where}: {key!r} must be {names}, not {value!r:.60}')


def add_once(places: dict[Any, str], key: Any, what: str, where: str) -> None:
    """Notes where a key stands.

    Args:
        places: The places of the keys so far; `key` is added.
        key: What must not occur twice.
        what: Its name, for the error.
        where: Its place.

    Raises:
        ValueError: If the key has occurred before; names both places.
    """
    first = places.setdefault(key, where)
    if first is not where:
        raise ValueError(
            f'{where}: {what} {key!r} stands at {first} already; remove one '
            'of them'
        )


def _read_text(path: str) -> str:
    try:
        # Some editors write a byte order mark.
        return fileio.get_text(path, encoding='utf-8-sig')
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'there is no annotation file {path}: docs/data/ says, for each '
            'data set, where it comes from and how its folder looks'
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is not UTF-8 text ({error.reason} at byte '
            f'{error.start}): damaged, or still packed'
        ) from error


def _not_json(error: json.JSONDecodeError) -> str:
    return f'not JSON ({error.msg}): truncated or damaged, get it again'
