# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import re

import pytest

from beit3_mm.datasets.annotation_files import (
    add_once,
    get_field,
    read_json,
    read_json_lines,
)


def test_json_and_lines(tmp_path):
    path = str(tmp_path / 'a.json')
    (tmp_path / 'a.json').write_text('{"text": "caf\u00e9\u2028"}')
    assert read_json(path) == {'text': 'caf\u00e9\u2028'}
    (tmp_path / 'a.json').write_text('{"a": "\u2028"}\r\n\n{"a": 2}')
    assert list(read_json_lines(path)) == [
        (f'{path}, line 1', {'a': '\u2028'}),
        (f'{path}, line 3', {'a': 2}),
    ]
    (tmp_path / 'a.json').write_text('{"a": 2}', encoding='utf-8-sig')
    assert read_json(path) == {'a': 2}
    assert list(read_json_lines(path)) == [(f'{path}, line 1', {'a': 2})]


@pytest.mark.parametrize('read', [read_json, lambda p: [*read_json_lines(p)]])
def test_files_that_cannot_be_read_are_named(read, tmp_path):
    path = tmp_path / 'a.json'
    with pytest.raises(FileNotFoundError, match=r'no annotation file .*a\.js'):
        read(str(path))
    path.write_text('{"a": 1}\n{"b": 2')
    expected = rf'{re.escape(str(path))}, line 2.*: not JSON \(.*get it again'
    with pytest.raises(ValueError, match=expected):
        read(str(path))
    path.write_bytes(b'\x1f\x8b\x08\xff')
    with pytest.raises(ValueError, match=r'a\.json is not UTF-8 text \(.*at'):
        read(str(path))


def test_a_line_that_is_no_object(tmp_path):
    (tmp_path / 'a.json').write_text('{}\n[1]\n')
    lines = read_json_lines(str(tmp_path / 'a.json'))
    with pytest.raises(ValueError, match=r'a\.json, line 2: expected an obj'):
        list(lines)


def test_fields():
    record = dict(n=3, t='x', b=True)
    assert get_field(record, 'n', int, 'f') == 3
    assert get_field(record, 't', (int, str), 'f') == 'x'
    assert get_field(record, 'b', bool, 'f') is True
    with pytest.raises(ValueError, match=r"f, line 2: there is no 'm'; it ha"):
        get_field(record, 'm', int, 'f, line 2')
    with pytest.raises(ValueError, match=r"f: 'n' must be str or list, not 3"):
        get_field(record, 'n', (str, list), 'f')
    with pytest.raises(ValueError, match=r"f: 'b' must be int, not True"):
        get_field(record, 'b', int, 'f')
    with pytest.raises(ValueError, match=r"object with 'a', not \[1\]"):
        get_field([1], 'a', int, 'f')


def test_what_stands_twice_names_both_places():
    places = {}
    add_once(places, 5, 'question_id', 'f, line 1')
    add_once(places, 6, 'question_id', 'f, line 2')
    with pytest.raises(
        ValueError, match=r'f, line 3: question_id 5 stands at f, line 1 alr'
    ):
        add_once(places, 5, 'question_id', 'f, line 3')
