# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / 'golden'
ENCODER_OUTPUTS = ('image', 'image_masked', 'text', 'fused', 'fused_masked')
EMBEDDINGS = ('image_embedding', 'text_embedding', 'contrastive_loss')
CAPTIONING = ('logits', 'caption_loss', 'caption_loss_drop_worst')
BEAM_SEARCHES = ('beam3_len12_lp0.6', 'beam1_len12_lp0.6', 'beam4_len8_lp1.0')
TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


@pytest.fixture
def check(run_tool, capsys, monkeypatch):
    """Runs the tool; returns its exit code, its lines and its errors."""
    monkeypatch.syspath_prepend(TOOLS)

    def run(*files):
        with pytest.raises(SystemExit) as end:
            run_tool('analysis_tools/check_parity', *files)
        printed = capsys.readouterr()
        lines = [line.split() for line in printed.out.splitlines()]
        return end.value.code, lines, printed.err

    return run


@pytest.fixture
def changed(tmp_path):
    """Writes a copy of a golden file with other arrays, None = left out."""

    def write(name, **changes):
        with np.load(GOLDEN / f'{name}.npz') as file:
            arrays = {key: file[key] for key in file.files}
        arrays |= {
            key.replace('__', '/'): change for key, change in changes.items()
        }
        path = tmp_path / f'{name}.npz'
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
        return path

    return write


def test_the_dual_encoder_agrees(check):
    code, lines, _ = check(GOLDEN / 'beit3_tiny_retrieval.npz')
    assert code == 0
    assert {line[-1]: line[0] for line in lines[1:]} == dict.fromkeys(
        (*ENCODER_OUTPUTS, *EMBEDDINGS), 'agrees'
    )


def test_captioning_agrees(check, changed):
    code, lines, _ = check(GOLDEN / 'beit3_tiny_captioning.npz')
    assert code == 0
    assert {line[-1]: line[0] for line in lines[1:]} == dict.fromkeys(
        (*CAPTIONING, *BEAM_SEARCHES), 'agrees'
    )
    assert [line[1] for line in lines if line[-1] in BEAM_SEARCHES] == [
        '0.0e+00'
    ] * 3
    with np.load(GOLDEN / 'beit3_tiny_captioning.npz') as file:
        ids = file[f'out/{BEAM_SEARCHES[0]}'].copy()
    ids[1, 4] += 1
    path = changed('beit3_tiny_captioning', **{f'out/{BEAM_SEARCHES[0]}': ids})
    code, lines, _ = check(path)
    assert code == 1
    assert [x[-1] for x in lines if x[0] == 'DIFFERS'] == [BEAM_SEARCHES[0]]


@pytest.mark.parametrize('task', ['vqa', 'nlvr2', 'classification'])
def test_logits_of_tasks_agree(check, task):
    code, lines, _ = check(GOLDEN / f'beit3_tiny_{task}.npz')
    assert code == 0
    assert [(line[0], line[-1]) for line in lines[1:]] == [
        ('agrees', 'logits')
    ]
    assert float(lines[1][1]) <= 1e-6


@pytest.mark.parametrize(
    ('task', 'weight'),
    [
        ('vqa', 'head.3.bias'),
        ('vqa', 'pooler.norm.weight'),
        ('nlvr2', 'head.norm2.weight'),
        ('classification', 'head.bias'),
        ('classification', 'fc_norm.bias'),
        ('classification', 'beit3.encoder.layers.0.ffn.A.fc1.bias'),
    ],
)
def test_tasks_need_each_weight(check, changed, task, weight):
    path = changed(f'beit3_tiny_{task}', **{f'weights/{weight}': None})
    code, lines, errors = check(path)
    assert code == 2
    assert len(lines) == 1
    assert "holds no 'weights/" in errors or 'does not fit' in errors


def test_operators_agree(check):
    code, lines, _ = check(GOLDEN / 'mmcv_ops.npz')
    assert code == 0
    assert len(lines) == 1 + 12
    assert {line[0] for line in lines[1:]} == {'agrees'}
    assert 0 < max(float(line[1]) for line in lines[1:]) <= 1e-5


def test_the_adapter_agrees(check):
    code, lines, _ = check(GOLDEN / 'vit_adapter.npz')
    assert code == 0
    assert [line[-1] for line in lines[1:]] == [
        *('c1', 'c2', 'c3', 'c4', 'tokens', 'c', 'cls')
    ]


def test_the_largest_difference_is_printed(check, changed):
    with np.load(GOLDEN / 'beit3_tiny_retrieval.npz') as file:
        text = file['out/text'].copy()
    text[1, 2, 3] += 0.25
    path = changed('beit3_tiny_retrieval', out__text=text)
    code, lines, _ = check(path)
    assert code == 1
    verdicts = {line[-1]: line for line in lines[1:]}
    assert verdicts.pop('text')[:2] == ['DIFFERS', '2.5e-01']
    assert {line[0] for line in verdicts.values()} == {'agrees'}


@pytest.mark.parametrize(
    'value', [np.full((3, 9, 32), np.nan), np.zeros((3, 8, 32))]
)
def test_nan_and_other_shapes_differ(check, changed, value):
    code, lines, _ = check(changed('beit3_tiny_retrieval', out__text=value))
    assert code == 1
    assert [line[-1] for line in lines if line[0] == 'DIFFERS'] == ['text']


def test_an_index_that_differs(check, changed):
    with np.load(GOLDEN / 'mmcv_ops.npz') as file:
        keep = file['out/nms/keep'].copy()
    keep[[3, 4]] = keep[[4, 3]]
    code, _, _ = check(changed('mmcv_ops', out__nms__keep=keep))
    assert code == 1


def test_all_agree(check):
    files = 'beit3_tiny_retrieval', 'mmcv_ops'
    assert check(*(GOLDEN / f'{name}.npz' for name in files))[0] == 0


def test_what_is_unknown_and_a_difference_that_outweighs_it(check, changed):
    operators = GOLDEN / 'mmcv_ops.npz'
    path = changed('beit3_tiny_retrieval', out__tea=np.zeros(2))
    code, lines, _ = check(operators, path)
    assert code == 2
    assert ['unknown', 'tea'] in lines
    text = np.zeros((3, 9, 32))
    path = changed('beit3_tiny_retrieval', out__tea=text, out__text=text)
    assert check(operators, path)[0] == 1


def test_an_unknown_kind(check, tmp_path):
    path = tmp_path / 'x.npz'
    np.savez(path, config=json.dumps(dict(kind='tea')), **{'out/cup': [1.0]})
    code, lines, _ = check(path)
    assert code == 2
    assert "'tea'" in lines[1]
    assert lines[2] == ['unknown', 'cup']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(config=None), "holds no 'config'"),
        (dict(config='{'), 'config is no JSON'),
        (dict(config='{}'), "has no 'kind'"),
        (dict(config='{"kind": "retrieval"}'), "no ['embed_dims', "),
        (dict(image=None), "holds no 'image'"),
        (dict(image=np.zeros((3, 1, 32, 32), 'f')), 'channels'),
        (dict(text_ids=np.zeros((3, 40), int)), 'positions of this model'),
        (
            {'weights__beit3.encoder.layer_norm.A.weight': None},
            'encoder.norm.vision.weight',
        ),
        (
            {'weights__beit3.encoder.layer_norm.A.weight': np.zeros(5)},
            'encoder.norm.vision.weight: (5,) in the checkpoint',
        ),
        (
            {'weights__vision_head.weight': None},
            'head.vision_proj.weight',
        ),
        (dict(image=np.array([None])), 'more than plain arrays'),
    ],
)
def test_files_with_faults(check, changed, changes, message):
    path = changed('beit3_tiny_retrieval', **changes)
    code, _, errors = check(path)
    assert code == 2
    assert message in errors
    assert errors.startswith(f'error: {path}: ')


def test_files_that_cannot_be_read_do_not_hide_the_others(check, tmp_path):
    cut = tmp_path / 'cut.npz'
    cut.write_bytes((GOLDEN / 'mmcv_ops.npz').read_bytes()[:5000])
    missing = tmp_path / 'missing.npz'
    empty = tmp_path / 'empty.npz'
    np.savez(empty, config='{"kind": "retrieval"}')
    code, lines, errors = check(cut, missing, empty, GOLDEN / 'mmcv_ops.npz')
    assert code == 2
    assert len(lines) == 1 + 12
    assert len(errors.splitlines()) == 3
    assert f'{cut}: this is no .npz file' in errors
    assert f'{missing}: there is no such file' in errors
    assert f'{empty}: it holds no out/' in errors
