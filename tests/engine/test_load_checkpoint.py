# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch

from beit3_mm.checkpoint import CheckpointError


@pytest.fixture
def foreign(tmp_path):
    """Writes weights of the toy with changes; None takes one out."""

    def write(runner, **changes):
        state = {**runner.model.state_dict(), **changes}
        state = {k: v for k, v in state.items() if v is not None}
        torch.save({'state_dict': state}, tmp_path / 'foreign.pth')
        return str(tmp_path / 'foreign.pth')

    return write


def load(make_runner, path, strict):
    hook = {'type': 'beit3_mm.LoadCheckpointHook', 'strict': strict}
    runner = make_runner(
        default_hooks={'load_checkpoint': hook},
        load_from=path,
        log_level='INFO',
    )
    runner.load_or_resume()
    return runner


def test_loading_reports_what_was_left_out(make_runner, foreign, capsys):
    changes = {
        'linear.weight': torch.ones(3, 4),
        'linear.bias': None,
        'head': torch.ones(1),
        'norm.weight': torch.full((2,), 7.0),
    }
    path = foreign(make_runner(), **changes)
    runner = load(make_runner, path, strict=False)
    assert (runner.model.norm.weight == 7).all()
    (log,) = Path(runner.log_dir).glob('*.log')
    log = log.read_text()
    assert f'4 weights loaded from {path}' in log
    for line in (
        'linear.bias',
        'head',
        'linear.weight: (3, 4) in the checkpoint, (2, 4) in the model',
    ):
        assert f'\n  {line}\n' in log
    # mmengine's own report would be the second.
    assert 'do not match exactly' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'changes',
    [{'linear.bias': None}, {'linear.bias': torch.ones(9)}],
    ids=['missing', 'mismatched'],
)
def test_strict_loading_refuses_other_models(make_runner, foreign, changes):
    path = foreign(make_runner(), **changes)
    with pytest.raises(CheckpointError, match=r'foreign\.pth is not a check'):
        load(make_runner, path, strict=True)
    load(make_runner, path, strict=False)


def test_strict_loading_takes_what_has_more(make_runner, foreign):
    path = foreign(make_runner(), extra=torch.ones(1))
    load(make_runner, path, strict=True)
