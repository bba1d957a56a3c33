# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import numpy as np
import pytest
from PIL import Image

TOOL = 'dataset_converters/check_data'
CONFIG = """
load = dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True)
tokenize = dict(type='beit3_mm.TokenizeText', model_file='{tokenizer}')
pack = dict(type='beit3_mm.PackMultimodalInputs')
answers = '{data}/answers.txt'
questions = dict(
    type='beit3_mm.VQAv2Dataset', data_root='{data}', image_name='{image}',
    question_file='questions.json', pipeline=[load, tokenize, pack])
train_dataloader = dict(
    dataset=dict(type='beit3_mm.SeededDataset', dataset=dict(
        questions, ann_file='annotations.json', answer_file=answers)))
val_dataloader = dict(
    dataset=dict(questions, ann_file='annotations.json', test_mode=True))
val_evaluator = [dict(type='beit3_mm.VQAScore', answer_file=answers)]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
"""


@pytest.fixture
def folder(tmp_path):
    """Six questions about three images."""
    questions, annotations = [], []
    for i in range(6):
        ids = dict(question_id=i, image_id=i % 3)
        text = 'how many red circles are there' if i else '\u5706'
        questions.append(dict(ids, question=text))
        answers = [dict(answer='2')] * 7 + [dict(answer='3')] * 3
        annotations.append(dict(ids, answers=answers))
    for name, content in (
        ('questions', questions),
        ('annotations', annotations),
    ):
        path = tmp_path / f'{name}.json'
        path.write_text(json.dumps({name: content}))
    (tmp_path / 'answers.txt').write_text('2\n3\n')
    for i in range(3):
        pixels = np.full((20, 30, 3), (250, 0, 60 * i), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{i}.png')
    return tmp_path


@pytest.fixture
def check(folder, tokenizer_file, run_tool, capsys):
    """Runs the tool on the config; returns its lines and its ending."""

    def check(*args, tokenizer=tokenizer_file):
        path = folder / 'config.py'
        path.write_text(
            CONFIG.format(
                data=folder, tokenizer=tokenizer, image='{image_id}.png'
            )
        )
        ending = None
        try:
            run_tool(TOOL, path, *args)
        except SystemExit as error:
            ending = error.code
        lines = capsys.readouterr().out.splitlines()
        hosts = 'mmengine', 'OneDL'
        lines = [x for x in lines if not any(host in x for host in hosts)]
        return lines, ending

    return check


def test_it_counts_and_reads(check):
    lines, ending = check('--samples', 4)
    expected = [
        f'{stage}: {text}'
        for stage in ('train', 'val')
        for text in (
            '6 samples of 3 files',
            'read 4 samples: images [(3, 20, 30)] (channels, height, width)',
            '4 texts of 4 to 18 ids; 1 hold characters that the tokenizer '
            'lacks',
        )
    ]
    assert lines == [*expected, 'test: the same as val', 'no problems']
    assert ending is None


def test_missing_files_are_counted_and_named(check, folder):
    for i in (0, 2):
        (folder / f'{i}.png').unlink()
    lines, ending = check('--stages', 'train', '--all')
    assert lines[:4] == [
        'train: 6 samples of 3 files',
        'train: PROBLEM: 2 of 3 files are missing:',
        f'    {folder}/0.png',
        f'    {folder}/2.png',
    ]
    assert lines[4].startswith('train: read 2 samples')
    assert '4 of 6 samples cannot be read' in lines[6]
    assert 'question_id 0, image_id 0' in lines[7]
    assert lines[10] == '    and 1 more'
    assert ending == '2 problems; docs/data/ says how the files lie'


def test_training_skips_no_damaged_image_unnoticed(check, folder):
    (folder / '1.png').write_bytes(b'')
    lines, ending = check('--stages', 'train')
    assert 'PROBLEM: 2 of 6 samples cannot be read' in lines[-3]
    assert '1.png (0 bytes) is truncated' in lines[-2]
    assert ending.startswith('1 problem;')


def test_what_cannot_be_built_is_reported(check, folder):
    (folder / 'answers.txt').unlink()
    (folder / 'questions.json').write_text('{"questions": [')
    lines, ending = check('--stages', 'val')
    assert lines[0].startswith('val: PROBLEM: beit3_mm.VQAScore: ')
    assert 'answers.txt' in lines[0]
    assert lines[1].startswith('val: PROBLEM: ValueError: ')
    assert 'questions.json, line 1' in lines[1]
    assert ending.startswith('2 problems')


def test_without_a_tokenizer_no_sample_is_read(check, tmp_path):
    lines, ending = check('--stages', 'val', tokenizer=tmp_path / 'no.spm')
    assert lines[1].startswith('val: PROBLEM: no sample can be read: ')
    assert 'no.spm' in lines[1]
    assert ending.startswith('1 problem;')


def test_the_sheet_shows_images_and_texts(check, folder):
    out = folder / 'new/sheet.png'
    lines, _ = check('--show', out)
    assert lines[-2] == f'sheet: {out}'
    with Image.open(out) as file:
        sheet = np.asarray(file.convert('RGB'))
    assert sheet.shape[1] > 4 * 384
    colours = {tuple(c) for c in sheet[::8, ::8].reshape(-1, 3).tolist()}
    assert {(250, 0, 0), (250, 0, 60), (250, 0, 120)} <= colours
    # Text is black on white
    assert {(255, 255, 255), (0, 0, 0)} <= colours


def test_wrong_arguments(check):
    assert check('--samples', 0)[1] == 2
    options = 'train_dataloader=None', '--stages', 'train'
    lines, ending = check('--cfg-options', *options)
    assert lines == ['train: the config has no train_dataloader']
    assert "no data for ['train']" in ending


PRETRAINING = """
load = dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True)
pack = dict(type='beit3_mm.PackMultimodalInputs')
train_dataloader = dict(
    dataset=dict(type='beit3_mm.SeededDataset', dataset=dict(
        type='beit3_mm.MixedDataset', datasets=dict(
            image=dict(
                type='beit3_mm.ImageFolderDataset', data_root='{data}',
                pipeline=[load, pack]),
            text=dict(
                type='beit3_mm.TextCorpusDataset', data_root='{data}',
                files='*.text', bytes_per_sample=60, pipeline=[
                    dict(type='beit3_mm.PackText', max_tokens=20,
                         model_file='{tokenizer}'),
                    pack])))))
"""


def test_the_data_of_pretraining(check, folder, monkeypatch):
    monkeypatch.setitem(globals(), 'CONFIG', PRETRAINING)
    (folder / 'good.text').write_text('red circles are above the square\n' * 9)
    lines, ending = check('--samples', 3, '--stages', 'train')
    assert lines == [
        'train: samples: 3 of image, 5 of text',
        'train: 6 samples of 3 files',
        'train: read 6 samples: images [(3, 20, 30)] (channels, height, '
        'width)',
        'train: 3 texts of 20 to 20 ids; 0 hold characters that the '
        'tokenizer lacks',
        'no problems',
    ]
    (folder / 'wrong.text').write_bytes(b'red \xff\n' * 200)
    (folder / 'void.text').write_text('')
    (folder / '0.png').write_bytes(b'no image')
    lines, ending = check('--stages', 'train')
    text = '\n'.join(lines)
    assert '1 files or parts of files are left out:' in text
    assert 'void.text: the file is empty' in text
    assert '0.png (8 bytes) is truncated' in text
    assert 'wrong.text, byte' in text and 'not UTF-8 text' in text
    assert ending.startswith('2 problems')
