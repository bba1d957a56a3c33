# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import argparse

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn

from beit3_mm.engine import loading
from beit3_mm.engine.loading import (
    CheckpointError,
    load_file,
    load_weights,
    save_file,
    use_safe_loading,
)


class Net(nn.Module):
    def __init__(self, width=2, name='layer'):
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.bn = nn.BatchNorm1d(3)
        self.add_module(name, nn.Linear(3, width))


@pytest.fixture
def save(tmp_path):
    def write(value, name='x.pth'):
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def safe_loading(monkeypatch):
    """Undoes `use_safe_loading` behind the test."""
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    monkeypatch.setattr(loading, '_trust_files', False)
    monkeypatch.setattr(
        CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy()
    )
    return use_safe_loading


def test_plain_files_are_read(save):
    state = Net().state_dict()
    read = load_file(save({'state_dict': state, 'meta': {'epoch': 3}}))
    assert read['meta'] == {'epoch': 3}
    for name, value in state.items():
        torch.testing.assert_close(read['state_dict'][name], value)


def test_objects_are_refused_unless_trusted(save):
    path = save({'args': argparse.Namespace(lr=1)})
    with pytest.raises(CheckpointError) as refusal:
        load_file(path)
    for part in (str(path), 'argparse.Namespace', '--trust-checkpoint'):
        assert part in str(refusal.value)
    assert load_file(path, trust=True)['args'].lr == 1


def test_unreadable_files_are_named(save, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'no checkpoint file .*a\.pth'
    ):
        load_file(tmp_path / 'a.pth')
    whole = save({'x': torch.zeros(1000)})
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r'x\.pth is damaged'):
        load_file(whole)
    for start in (b'', b'hello', b'<!DOCTYPE html>', b'\xf0\x05\0\0{"a":{'):
        (tmp_path / 'b.pth').write_bytes(start)
        with pytest.raises(CheckpointError) as refusal:
            load_file(tmp_path / 'b.pth')
        assert 'b.pth is no checkpoint' in str(refusal.value)
        assert 'must end in .safetensors' in str(refusal.value)
        assert 'trust' not in str(refusal.value)
    with pytest.raises(CheckpointError, match='holds a Tensor'):
        load_file(save(torch.zeros(2)))


def test_a_file_that_was_cut_anywhere_is_named(save):
    whole = save({'x': torch.zeros(50_000)})
    content = whole.read_bytes()
    for size in (10, 100, 2_000, 20_000, 70_000, len(content) - 1):
        whole.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r'x\.pth is damaged'):
            load_file(whole)


def test_addresses_are_refused():
    with pytest.raises(
        CheckpointError, match=r'https://x\.org/a\.pth is an ad'
    ):
        load_file('https://x.org/a.pth')


def test_torchs_other_switch_does_not_refuse_good_files(
    save, safe_loading, monkeypatch
):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    use_safe_loading()
    assert load_file(save({'a': torch.ones(1)}))['a'] == 1


def test_mmengine_no_longer_falls_back_to_unpickling(save, safe_loading):
    net = Net()
    state = {**net.state_dict()}
    path = str(save({'state_dict': state, 'args': argparse.Namespace()}))
    load_checkpoint(net, path)  # what mmengine does by itself
    safe_loading()
    with pytest.raises(CheckpointError, match='--trust-checkpoint'):
        load_checkpoint(net, path)
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(path, weights_only=False)
    safe_loading(trust=True)
    load_checkpoint(net, path)


def test_all_weights_of_a_fitting_file_are_loaded():
    source, model = Net(), Net()
    # As saved from DDP.
    state = {f'module.{k}': v for k, v in source.state_dict().items()}
    report = load_weights(model, state, 'a.pth')
    assert report.complete and not report.unexpected
    assert str(report) == '8 weights loaded from a.pth'
    for name, value in source.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_whatever_does_not_load_is_listed():
    source, model = Net(width=2), Net(width=4)
    state = source.state_dict()
    del state['bn.running_mean'], state['bn.num_batches_tracked']
    state['old.weight'] = torch.zeros(1)
    kept = model.layer.weight.clone()
    report = load_weights(model, state, 'a.pth')
    assert not report.complete
    assert report.missing == ['bn.running_mean']
    assert report.mismatched == {
        'layer.weight': ((2, 3), (4, 3)),
        'layer.bias': ((2,), (4,)),
    }
    assert report.unexpected == ['old.weight']
    assert len(report.loaded) == 5
    assert {'bn.running_mean', 'old.weight'} <= set(str(report).split())
    assert (
        'layer.weight: (2, 3) in the checkpoint, (4, 3) in the model'
        in str(report)
    )
    torch.testing.assert_close(model.layer.weight, kept)
    torch.testing.assert_close(model.stem.weight, source.stem.weight)


def test_weights_that_a_model_resizes_itself_are_no_mismatch():
    model = Net(width=4)

    def repeat(state_dict, prefix, *args):
        for leaf in ('weight', 'bias'):
            small = state_dict[f'{prefix}{leaf}']
            state_dict[f'{prefix}{leaf}'] = torch.cat([small, small])

    model.layer._register_load_state_dict_pre_hook(repeat)
    assert load_weights(model, Net(width=2).state_dict(), 'a.pth').complete


@pytest.mark.parametrize(
    'state',
    [
        {},
        {'epoch': 3, 'model': {}},
        nn.Sequential(nn.Linear(3, 3)).state_dict(),
        {'stem.weight': torch.zeros(7, 7)},
    ],
)
def test_a_file_of_which_nothing_fits_is_an_error(state):
    with pytest.raises(CheckpointError, match=r'nothing in a\.pth fits Net'):
        load_weights(Net(), state, 'a.pth')


def test_safetensors_are_read_and_written(tmp_path):
    weights = Net().state_dict()
    path = tmp_path / 'new' / 'x.safetensors'
    # Views of one memory, which safetensors refuses as they are
    weights['first'] = weights['stem.weight'][0]
    weights['turned'] = weights['stem.weight'].T
    save_file(path, weights, 'state_dict')
    read = load_file(path, map_location='cpu')
    assert read.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(read[name], value)
    assert [file.name for file in path.parent.iterdir()] == ['x.safetensors']
    save_file(tmp_path / 'x.pth', weights, 'model')
    assert load_file(tmp_path / 'x.pth')['model'].keys() == weights.keys()
    for length in (3, 100, path.stat().st_size - 1):
        cut = tmp_path / 'cut.safetensors'
        cut.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CheckpointError, match=r'cut\.safetensors is dam'):
            load_file(cut)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r'folder.*unpacked'):
        load_file(tmp_path)


def test_safetensors_are_loaded_by_mmengine(tmp_path, safe_loading):
    source, model = Net(), Net()
    path = str(tmp_path / 'x.safetensors')
    save_file(path, source.state_dict(), 'state_dict')
    safe_loading()
    load_checkpoint(model, path, strict=True)
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
