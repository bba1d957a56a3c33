# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import argparse
from pathlib import Path

import pytest
import torch
from official_weights import build, official
from safetensors.torch import load_file, save_file

TOOLS = Path(__file__).parents[2] / 'tools' / 'model_converters'
TO_MM, BACK = 'beit3_to_mm', 'mm_to_beit3'


@pytest.fixture
def convert(run_tool, monkeypatch, tmp_path):
    """Runs a converter on files in a folder of the test."""
    monkeypatch.syspath_prepend(TOOLS)
    monkeypatch.chdir(tmp_path)

    def run(tool, *args):
        run_tool(f'model_converters/{tool}', *args)

    return run


def read(path):
    if str(path).endswith('.safetensors'):
        return load_file(path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_there_and_back_is_the_same_bit_for_bit(convert, suffix, capsys):
    weights = official('vqa', torch.half)
    torch.save({'model': weights, 'epoch': 3}, 'official.pth')
    convert(TO_MM, 'official.pth', f'new/ours.{suffix}')
    printed = capsys.readouterr().out
    assert printed.startswith(
        '97 weights converted from official.pth, task: vqa\n'
    )
    assert printed.endswith(
        f"use it: load_from = 'new/ours.{suffix}' in a config\n"
        f'weights: new/ours.{suffix}\n'
    )
    ours = read(f'new/ours.{suffix}')
    if suffix == 'pth':
        (ours,) = ours.values()
    build('vqa').load_state_dict(ours)
    convert(BACK, f'new/ours.{suffix}', f'back.{suffix}')
    assert capsys.readouterr().out.endswith(f'\nweights: back.{suffix}\n')
    back = read(f'back.{suffix}')
    back = back if suffix == 'safetensors' else back['model']
    assert back.keys() == weights.keys()
    for name, value in back.items():
        assert value.dtype == torch.half
        assert torch.equal(value, weights[name])
    assert not list(Path('new').glob('*.tmp'))


def test_the_report_lists_what_is_fresh_and_unused(convert, capsys):
    weights = official('pretraining')
    save_file(weights, 'official.safetensors')
    task = '--task', 'vqa', '--img-size', 48
    convert(TO_MM, 'official.safetensors', 'ours.pth', *task)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'vision positions for 48 pixels'
    assert lines[2].startswith('10 not in the file, fresh in a model')
    assert lines[3] == '  head.pooler.norm.weight'
    assert '8 unused, without a name in the result:' in lines
    assert '  mim_head.bias' in lines
    table = read('ours.pth')['state_dict'][
        'backbone.vision_embedding.positions.weight'
    ]
    assert table.shape == (3 + 36, 24)
    build('vqa', img_size=48).load_state_dict(
        read('ours.pth')['state_dict'], strict=False
    )


def test_checkpoints_of_a_training_are_converted(convert, capsys):
    model = build('nlvr2')
    checkpoint = dict(
        state_dict=model.state_dict(), meta=dict(iter=3), optimizer={}
    )
    torch.save(checkpoint, 'iter_3.pth')
    convert(BACK, 'iter_3.pth', 'official.pth')
    assert 'task: nlvr2' in capsys.readouterr().out
    assert set(read('official.pth')['model']) == set(official('nlvr2'))


def cut(path):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['gone.pth', 'x.pth'], r'there is no checkpoint file gone\.pth'),
        (['cut.safetensors', 'x.pth'], r'cut\.safetensors is damaged'),
        (['cut.pth', 'x.pth'], r'cut\.pth is damaged'),
        (['text.safetensors', 'x.pth'], r'text\.safetensors is damaged'),
        (['folder', 'x.pth'], 'folder is a folder.*unpacked'),
        (['args.pth', 'x.pth'], 'argparse.Namespace.*--trust-checkpoint'),
        (['vqa.pth', 'x.bin'], r'x\.bin must end in'),
        (['vqa.pth', './vqa.pth'], 'would overwrite what is read'),
        (['vqa.pth', 'x.pth', '--task', 'nlvr2'], 'of vqa, not of nlvr2'),
        (['vqa.pth', 'x.pth', '--img-size', '30'], 'must be a multiple of'),
        (['other.pth', 'x.pth'], 'is no official BEiT-3 file'),
    ],
)
def test_wrong_input_ends_with_one_message(convert, args, message):
    weights = official('vqa')
    for name, value in (
        ('vqa', weights),
        ('cut', weights),
        ('args', {'args': argparse.Namespace(), **weights}),
        ('other', {'blocks.0.weight': torch.zeros(1)}),
    ):
        torch.save(value, f'{name}.pth')
    save_file(weights, 'cut.safetensors')
    cut('cut.safetensors')
    cut('cut.pth')
    Path('text.safetensors').write_text('hello')
    Path('folder').mkdir()
    with pytest.raises(SystemExit, match=message) as end:
        convert(TO_MM, *args)
    assert end.value.code.startswith('error: ')
    assert not list(Path.cwd().glob('x.*'))


def test_files_of_objects_are_read_by_those_who_insist(convert, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    weights = {'args': argparse.Namespace(), 'model': official('vqa')}
    torch.save(weights, 'args.pth')
    convert(TO_MM, 'args.pth', 'ours.pth', '--trust-checkpoint')
    assert read('ours.pth')


@pytest.mark.parametrize('tool', [TO_MM, BACK])
def test_help(convert, capsys, tool):
    with pytest.raises(SystemExit) as end:
        convert(tool, '--help')
    assert end.value.code == 0
    printed = ' '.join(capsys.readouterr().out.split())
    assert '--img-size PIXELS' in printed
    assert 'retrieval,vqa,nlvr2,captioning,classification' in printed
