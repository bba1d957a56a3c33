# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import numpy as np
import pytest

from beit3_mm.datasets.visual_tokens import (
    ABOUT,
    IDS,
    NAMES,
    NONE,
    VisualTokens,
    VisualTokensWriter,
    name_hash,
)

ABOUT_TOKENS = dict(samples=3, height=2, width=2, num_codes=8, codebook='abc')
PATHS = ['folder/a.jpg', 'b.jpg', 'c.jpg']
ROWS = np.array([[1, 2, 3, 4], [NONE] * 4, [5, 6, 7, 0]], np.uint16)


def write(folder, number):
    """Writes the first rows, and returns the writer."""
    writer = VisualTokensWriter(folder, dict(ABOUT_TOKENS))
    rows = slice(writer.done, number)
    writer.add([name_hash(x) for x in PATHS[rows]], ROWS[rows], [])
    writer.keep()
    return writer


@pytest.fixture
def folder(tmp_path):
    """Returns a folder of the tokens of three images, one damaged."""
    write(tmp_path / 'tokens', 3)
    return tmp_path / 'tokens'


def test_ids_are_found_by_number_and_name(folder):
    tokens = VisualTokens(folder)
    assert len(tokens) == 3
    assert tokens.find(0, '/elsewhere/a.jpg').tolist() == [1, 2, 3, 4]
    assert tokens.find(1, 'b.jpg') is None
    with pytest.raises(ValueError, match=r'row 2 of .* is not of b\.jpg'):
        tokens.find(2, 'b.jpg')


def test_names_need_not_be_utf8():
    name = b'\xff.jpg'.decode(errors='surrogateescape')
    assert name_hash(f'folder/{name}') == name_hash(name)
    assert name_hash(name) != name_hash('?.jpg')


@pytest.mark.parametrize(
    'content', ['{"samples": 3, "do', '[]', json.dumps(ABOUT_TOKENS)]
)
def test_a_damaged_summary_is_named(folder, content):
    (folder / ABOUT).write_text(content)
    for read in (
        lambda: VisualTokens(folder),
        lambda: VisualTokensWriter(folder, ABOUT_TOKENS),
    ):
        with pytest.raises(ValueError, match=r'about\.json is damaged .*rem'):
            read()


@pytest.mark.parametrize('name', [IDS, NAMES])
@pytest.mark.parametrize('damage', ['cut', 'empty', 'other shape'])
def test_a_damaged_array_is_named(folder, name, damage):
    path = folder / name
    if damage == 'other shape':
        np.save(path, np.load(path)[:2])
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-4] if damage == 'cut' else b'')
    with pytest.raises(ValueError, match=rf'{name} is damaged .*: remove'):
        VisualTokens(folder).find(0, 'a.jpg')
    # numpy would fill a cut file up with zeros, which are ids too
    with pytest.raises(ValueError, match=rf'{name} is damaged .*: remove'):
        write(folder, 3)


def test_rows_are_added_to_those_that_are_there(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(ValueError, match='has 1 of 3 samples'):
        VisualTokens(tmp_path)
    writer = write(tmp_path, 3)
    assert writer.done == 3
    assert VisualTokens(tmp_path).find(2, 'c.jpg').tolist() == [5, 6, 7, 0]
