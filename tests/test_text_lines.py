# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import codecs

import pytest

from beit3_mm.evaluation.vqa_answers import read_answers
from beit3_mm.models.multimodal.class_names import read_class_names
from beit3_mm.text_lines import mark_size, read_lines


@pytest.mark.parametrize(
    ('content', 'lines'),
    [
        ('', []),
        ('yes\nno\n', ['yes', 'no']),
        ('yes\r\n\r\nno', ['yes', '', 'no']),
        ('a\u2028b\x85c\n', ['a\u2028b\x85c']),
    ],
)
@pytest.mark.parametrize('mark', [b'', codecs.BOM_UTF8])
def test_lines(tmp_path, content, lines, mark):
    path = tmp_path / 'list.txt'
    path.write_bytes(mark + content.encode())
    assert read_lines(path) == lines


@pytest.mark.parametrize('read', [read_answers, read_class_names])
def test_other_encodings_are_named(tmp_path, read):
    path = tmp_path / 'list.txt'
    path.write_text('yes\nno\n', encoding='utf-16')
    with pytest.raises(
        ValueError, match=r'list\.txt is not UTF-8 text .*byte'
    ):
        read(str(path))


@pytest.mark.parametrize(
    ('encoding', 'size'), [('utf-8', 0), ('utf-8-sig', 3)]
)
def test_size_of_the_mark(tmp_path, encoding, size):
    path = tmp_path / 'corpus.txt'
    for text in ('a red circle', ''):
        path.write_text(text, encoding=encoding)
        assert mark_size(path) == size


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-32'])
def test_marks_of_other_encodings(tmp_path, encoding):
    path = tmp_path / 'corpus.txt'
    path.write_text('a red circle', encoding=encoding)
    with pytest.raises(ValueError, match=r'corpus\.txt is in UTF-16 or UTF-3'):
        mark_size(path)
