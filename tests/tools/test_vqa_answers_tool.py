# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest

from beit3_mm.evaluation.vqa_answers import read_answers

TOOL = 'dataset_converters/vqa_answers'


def write(path, *answers):
    content = [
        dict(question_id=i, multiple_choice_answer=answer)
        for i, answer in enumerate(answers)
    ]
    path.write_text(json.dumps({'annotations': content}))
    return path


@pytest.fixture
def files(tmp_path):
    """Training and validation; one answer is only in the second."""
    train = write(tmp_path / 'train.json', *['Net'] * 6, *['a dog'] * 9, 'x')
    val = write(tmp_path / 'val.json', *['café'] * 10, *['net'] * 3, 'x')
    return train, val


def test_it_lists_and_says_where(files, tmp_path, run_tool, capsys):
    out = tmp_path / 'new/answers.txt'
    run_tool(TOOL, *files, '--out', out)
    assert capsys.readouterr().out.splitlines() == [
        f'reading 1 of 2: {files[0]}',
        '16 questions, 3 different answers',
        f'reading 2 of 2: {files[1]}',
        '30 questions, 4 different answers',
        f'answers: {out} (3 answers given 9 or more times, of 93.3% of the '
        'questions)',
    ]
    assert read_answers(out) == ['net', 'dog', 'café']
    assert [path.name for path in out.parent.iterdir()] == ['answers.txt']


def test_the_count_can_be_chosen(files, tmp_path, run_tool):
    out = tmp_path / 'all.txt'
    run_tool(TOOL, *files, '--out', out, '--min-count', 1)
    assert read_answers(out) == ['net', 'dog', 'x', 'café']


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        (['no.json'], 'there is no annotation file no.json'),
        (
            ['train.json', '--min-count', 20],
            '--min-count 20: no answer is that frequent, at most 9 questions',
        ),
        (['train.json', '--out', 'val.json'], 'val.json exists: choose anoth'),
        (['other.json'], "other.json: expected an object with 'annotations'"),
        (
            ['null.json'],
            "null.json, annotations[1]: 'multiple_choice_answer' must be str, "
            'not None',
        ),
    ],
)
def test_wrong_input(files, tmp_path, run_tool, monkeypatch, arguments, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'other.json').write_text('[]')
    given = [{'multiple_choice_answer': text} for text in ('yes', None)]
    (tmp_path / 'null.json').write_text(json.dumps({'annotations': given}))
    before = files[1].read_text()
    with pytest.raises(SystemExit) as stopped:
        run_tool(TOOL, '--out', 'answers.txt', *arguments)
    assert str(stopped.value.code).startswith('error: ')
    assert error in str(stopped.value.code)
    assert not (tmp_path / 'answers.txt').exists()
    assert files[1].read_text() == before


def test_wrong_arguments_and_help(files, run_tool, capsys):
    with pytest.raises(SystemExit, match='2'):
        run_tool(TOOL, files[0], '--out', 'x.txt', '--min-count', 0)
    assert '--min-count 0: at least 1' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='0'):
        run_tool(TOOL, '--help')
    assert '--min-count' in capsys.readouterr().out
