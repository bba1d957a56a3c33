# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pretraining from files to a checkpoint, by the recipe and the tools."""

import math

import pretraining_runs
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from pretraining_runs import scalars

KINDS = ('image', 'text', 'pair')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return pretraining_runs.write_data(tmp_path_factory.mktemp('corpora'))


@pytest.fixture
def config(data, tokenizer_file, tmp_path):
    path = tmp_path / 'tiny_mdm.py'
    return pretraining_runs.write_config(path, data, tokenizer_file)


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_a_run_learns_resumes_and_shows_its_guesses(
    config, run_tool, tmp_path, capsys
):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    run_tool('train', config, '--work-dir', whole)
    logged = scalars(whole)
    assert sorted(logged) == [1, 2, 3, 4, 5, 6]
    parts = ('image', 'text', 'pair_image', 'pair_text')
    for row in logged.values():
        losses = [row[f'loss_{part}'] for part in parts]
        assert math.isclose(row['loss'], sum(losses), rel_tol=1e-3)
        assert all(0 <= row[f'acc_{part}'] <= 1 for part in parts)
        assert row['grad_norm'] > 0
    # It begins where nothing is known.
    assert math.isclose(logged[1]['loss_image'], math.log(24), rel_tol=0.1)
    assert math.isclose(logged[1]['loss_text'], math.log(40), rel_tol=0.1)
    end = weights(whole / 'iter_6.pth')
    model = MODELS.build(Config.fromfile(config).model)
    assert set(end) == set(model.state_dict())
    assert not [name for name in end if 'tokenizer' in name]

    # A run that was killed after three steps goes on as if it had not been.
    cut.mkdir()
    (cut / 'iter_3.pth').write_bytes((whole / 'iter_3.pth').read_bytes())
    run_tool('train', config, '--work-dir', cut, '--resume')
    resumed = scalars(cut)
    assert sorted(resumed) == [4, 5, 6]
    for step, row in resumed.items():
        for part in parts:
            key = f'loss_{part}'
            assert math.isclose(row[key], logged[step][key], rel_tol=1e-4)
    for name, value in weights(cut / 'iter_6.pth').items():
        torch.testing.assert_close(value, end[name], rtol=1e-4, atol=1e-6)

    capsys.readouterr()
    pictures = tmp_path / 'pictures'
    run_tool(
        *('analysis_tools/masked_pictures', config, whole / 'iter_6.pth'),
        *('--out-dir', pictures, '--num', 2, '--mean-of', 2),
    )
    names = {path.name for path in pictures.glob('*.png')}
    assert names == {f'{kind}_{i}.png' for kind in KINDS for i in range(2)}
    assert f'pictures: {pictures}' in capsys.readouterr().out


def test_a_run_without_a_tokenizer_ends_at_once(config, run_tool, tmp_path):
    with pytest.raises(SystemExit, match='no checkpoint file gone'):
        run_tool(
            *('train', config, '--work-dir', tmp_path, '--cfg-options'),
            'model.visual_tokenizer.init_cfg.checkpoint=gone.pth',
        )
