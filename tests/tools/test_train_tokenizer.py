# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import subprocess
import sys
from pathlib import Path

import pytest

from beit3_mm.tokenizer import Tokenizer

SCRIPT = (
    Path(__file__).parents[2] / 'tools/dataset_converters/train_tokenizer.py'
)
LINES = [
    'the red circle is left of the blue square',
    'a green triangle is right of the red square',
    'how many yellow circles are there?',
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def corpus(tmp_path):
    """Two files; one ends its lines as Windows does and has blank ones."""
    paths = [tmp_path / 'a.txt', tmp_path / 'b.txt']
    paths[0].write_bytes('\r\n\r\n'.join(LINES).encode())
    paths[1].write_text('\n'.join(LINES[:2] + ['x' * 5000]))
    return paths


def test_it_trains_and_says_where(corpus, tmp_path):
    out = tmp_path / 'new/small.spm'
    done = run(*corpus, '--out', out, '--vocab-size', 30)
    assert done.returncode == 0, done.stderr
    *_, left_out, last = done.stdout.splitlines()
    assert last == f'tokenizer: {out} (30 pieces, 32 ids, mask 31)'
    assert left_out.startswith('left out: 1 lines of more than 4192 bytes')
    assert 'reading: 100%, 5 lines' in done.stdout
    tokenizer = Tokenizer(out)
    assert tokenizer.decode(tokenizer.encode(LINES[0])) == LINES[0]
    assert [path.name for path in out.parent.iterdir()] == ['small.spm']


def test_the_same_lines_give_the_same_file(corpus, tmp_path):
    outs = [tmp_path / 'one.spm', tmp_path / 'elsewhere/two.spm']
    for out in outs:
        done = run(*corpus, '--out', out, '--vocab-size', 30)
        assert done.returncode == 0, done.stderr
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert str(tmp_path).encode() not in outs[0].read_bytes()


@pytest.mark.parametrize(
    ('content', 'size', 'error'),
    [
        (b'', 40, 'c.txt: no text'),
        (b'\n \n', 40, 'c.txt: no text'),
        (b'x' * 5000, 40, 'c.txt: no text (1 lines are too long)'),
        (b'a few words', 400, '--vocab-size 400 is too large for 1 lines'),
        (b'a few words', 4, '--vocab-size 4 is too small for the characters'),
        (b'fine\nr\xf6t', 40, 'c.txt, line 2: not UTF-8 text'),
    ],
)
def test_a_corpus_that_does_not_do(tmp_path, content, size, error):
    path, out = tmp_path / 'c.txt', tmp_path / 'new.spm'
    path.write_bytes(content)
    done = run(path, '--out', out, '--vocab-size', size)
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if 'error' in line][-1]
    assert last.startswith('error: ')
    assert error in last
    assert not out.exists()


def test_wrong_arguments(corpus, tmp_path):
    done = run(tmp_path / 'no.txt', '--out', tmp_path / 'new.spm')
    assert done.returncode == 1
    assert 'no.txt: no such text file' in done.stderr
    done = run(corpus[0], '--out', corpus[1])
    assert done.returncode == 1
    assert 'b.txt exists: choose another name' in done.stderr
    assert corpus[1].read_text().startswith(LINES[0])
    for argument in ('--sample=5', '--coverage=2', '--vocab-size=3'):
        done = run(corpus[0], '--out', tmp_path / 'new.spm', argument)
        assert done.returncode == 2
        name, value = argument.split('=')
        assert f'{name} {value}' in done.stderr


def test_help():
    done = run('--help')
    assert done.returncode == 0
    assert '--vocab-size' in done.stdout
