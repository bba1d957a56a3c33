# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_tasks
import torch
from PIL import Image

from beit3_mm.apis import Inferencer
from beit3_mm.models.heads import ContrastiveHead

QUESTIONS = {
    'vqa': ['how many red'],
    'nlvr2': ['the blue square', 'above'],
    'retrieval': ['above', 'red circle'],
}


@pytest.fixture(scope='module')
def folder(tokenizer_file, tmp_path_factory):
    """Returns a folder of four images and of each task's files."""
    folder = tmp_path_factory.mktemp('infer')
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        pixels[:, 10:] //= i + 1
        Image.fromarray(pixels).save(folder / f'{i}.png')
    return folder


@pytest.fixture
def files(folder, tokenizer_file):
    """Returns config and checkpoint of a task."""

    def get(kind):
        if not (folder / f'{kind}.pth').exists():
            tiny_tasks.write(kind, tokenizer_file, folder)
        return folder / f'{kind}.py', folder / f'{kind}.pth'

    return get


@pytest.fixture
def infer(run_tool, monkeypatch, folder):
    """Runs the tool in the folder."""
    monkeypatch.chdir(folder)

    def run(*args):
        run_tool('infer', *args, '--device', 'cpu')

    return run


@pytest.mark.parametrize('kind', list(tiny_tasks.KINDS))
def test_lines_pictures_and_values(infer, files, tmp_path, capsys, kind):
    images, texts = [f'{i}.png' for i in range(4)], QUESTIONS.get(kind, [])
    text = ['--text', *texts] if texts else []
    out = tmp_path / 'new' / 'out'
    infer(*files(kind), *images, *text, '--out-dir', out, '--batch-size', 2)
    predictions = Inferencer(*files(kind), 'cpu')(images, texts, 2)
    printed = capsys.readouterr().out
    results = json.loads((out / 'results.json').read_text())
    assert len(results) == len(predictions)
    names = set()
    for prediction, result in zip(predictions, results):
        assert prediction.summary() in printed
        expected = json.loads(json.dumps(prediction.to_dict()))
        assert {key: result[key] for key in expected} == expected
        picture = Image.open(out / result['picture'])
        assert picture.width >= 384
        assert np.asarray(picture).std() > 5
        names |= {result['picture'], result.get('labels')}
        if kind == 'segmentation':
            labels = np.asarray(Image.open(out / result['labels']))
            assert np.array_equal(labels, prediction.labels)
    names = names - {None} | {'results.json'}
    assert {path.name for path in out.iterdir()} == names
    assert f'results: {out}/results.json' in printed


def test_embeddings(infer, files, tmp_path, capsys):
    path = tmp_path / 'x.npz'
    text = ['--text', 'above', 'red circle', 'blue']
    infer(*files('retrieval'), '0.png', '1.png', *text, '--embeddings', path)
    printed = capsys.readouterr().out
    with np.load(path) as file:
        assert file['similarities'].shape == (2, 3)
        assert file['images'].tolist() == ['0.png', '1.png']
        assert file['texts'].tolist() == text[1:]
        best = file['similarities'][1].argmax()
    assert f'1.png: 1. {text[1 + best]!r}' in printed
    assert f'embeddings: {path}' in printed
    infer(*files('retrieval'), '--text', 'above', '--embeddings', path)
    with np.load(path) as file:
        assert file['text'].shape == (1, 24)


def test_sure_objects_are_drawn(infer, files, tmp_path):
    pictures = []
    for score in (0, 1.1):
        args = '--out-dir', tmp_path, '--score-thr', score
        infer(*files('detection'), '0.png', *args)
        with Image.open(tmp_path / '000_0.png') as picture:
            pictures.append(np.asarray(picture))
    factor = pictures[1].shape[1] // 30
    with Image.open('0.png') as plain:
        assert np.array_equal(pictures[1][::factor, ::factor], plain)
    assert (pictures[0] != pictures[1]).any()


def test_options_of_the_config(infer, files, capsys):
    option = 'model.beam_search.max_tokens=4'
    infer(*files('caption'), '0.png')
    long = capsys.readouterr().out
    infer(*files('caption'), '0.png', '--cfg-options', option)
    assert 0 < len(capsys.readouterr().out) < len(long)


@pytest.mark.parametrize(
    ('kind', 'args', 'message'),
    [
        ('vqa', ['gone.png'], r'there is no image gone\.png'),
        ('vqa', ['0.png'], 'VQA needs a text: give --text'),
        ('nlvr2', ['0.png', '--text', 'above'], 'takes two images per text'),
        ('caption', ['broken.png'], r'broken\.png \(9 bytes\) is truncated'),
        ('caption', [], 'captioning needs an image'),
        ('caption', ['0.png', '--text', 'a'], 'captioning takes images only'),
        (
            'caption',
            ['0.png', '--embeddings', 'x.npz'],
            '--embeddings: ImageToText gives none',
        ),
        ('linear', ['0.png', '--embeddings', 'x.txt'], r'not x\.txt'),
        ('linear', ['0.png', '--batch-size', '0'], 'batch_size=0 must be'),
        ('linear', ['0.png', '--cfg-options', 'modle.a=1'], "no 'modle'"),
    ],
)
def test_wrong_input_ends_with_one_message(
    infer, files, folder, kind, args, message
):
    (folder / 'broken.png').write_bytes(b'no image\n')
    with pytest.raises(SystemExit, match=message) as end:
        infer(*files(kind), *args)
    assert end.value.code.startswith('error: ')
    assert 'Traceback' not in end.value.code


def test_wrong_files_end_with_one_message(infer, files):
    config, checkpoint = files('linear')
    for args, message in (
        (('gone.py', checkpoint), r'no config file gone\.py'),
        ((config, 'gone.pth'), r'no checkpoint file gone\.pth'),
        ((config, files('vqa')[1]), 'nothing in|not a checkpoint of this'),
    ):
        with pytest.raises(SystemExit, match=message) as end:
            infer(*args, '0.png')
        assert end.value.code.startswith('error: ')


def test_insisting_on_a_checkpoint(infer, files, tmp_path, capsys):
    config, checkpoint = files('linear')
    content = torch.load(checkpoint) | {'path': Path('x')}
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(SystemExit, match='insist with --trust-checkpoint'):
        infer(config, tmp_path / 'x.pth', '0.png')
    infer(config, tmp_path / 'x.pth', '0.png', '--trust-checkpoint')
    assert '0.png: ' in capsys.readouterr().out


def test_a_model_without_a_task_ends_with_one_message(infer, tmp_path):
    config, checkpoint = tmp_path / 'x.py', tmp_path / 'x.pth'
    model = dict(type='beit3_mm.ContrastiveHead', embed_dims=4)
    config.write_text(f'model = {model}')
    torch.save(ContrastiveHead(4).state_dict(), checkpoint)
    with pytest.raises(SystemExit, match='error: ContrastiveHead has no task'):
        infer(config, checkpoint, '0.png')
