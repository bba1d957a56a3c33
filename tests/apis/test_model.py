# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import captioners
import pytest
import tiny_tasks
import torch
from mmengine.config import Config

from beit3_mm.apis import init_model


@pytest.fixture
def files(tokenizer_file, tmp_path):
    return tiny_tasks.write('linear', tokenizer_file, tmp_path)


def test_weights_config_and_names(files):
    config, checkpoint = files
    model = init_model(config, checkpoint, 'cpu')
    state = torch.load(checkpoint)['state_dict']
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert not model.training
    assert tuple(model.dataset_meta['classes']) == tiny_tasks.NAMES
    assert model.cfg.model.type == 'mmpretrain.ImageClassifier'


def test_options_change_a_copy_of_the_config(files):
    config = Config.fromfile(files[0])
    options = {'model.head.num_classes': 5}
    model = init_model(config, device='cpu', cfg_options=options)
    assert model.head.num_classes == 5
    assert config.model.head.num_classes == 3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'cfg_options': {'modle.x': 1}}, r"has no 'modle'.*'model'"),
        ({'device': 'tpu5x'}, r"device='tpu5x' is unknown"),
        ({'device': 'cuda:77'}, r'no device cuda:77.*GPUs'),
    ],
)
def test_wrong_options_are_told(files, options, message):
    with pytest.raises(ValueError, match=message):
        init_model(*files, **options)


def test_missing_files_are_told(files):
    with pytest.raises(FileNotFoundError, match=r'no config file gone\.py'):
        init_model('gone.py', files[1])
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*gone\.pth'):
        init_model(files[0], 'gone.pth')


def test_a_config_without_model_is_told(files):
    with pytest.raises(ValueError, match='has no model'):
        init_model(Config(dict()))


def test_a_part_of_the_weights_is_not_enough(files):
    state = torch.load(files[1])['state_dict']
    state.pop('head.fc.weight')
    torch.save({'state_dict': state}, files[1])
    with pytest.raises(ValueError, match=r'not a checkpoint of this model'):
        init_model(*files, 'cpu')


def test_what_a_model_does_not_use_is_printed(files, capsys):
    state = torch.load(files[1])['state_dict']
    torch.save({'state_dict': state | {'x.y': torch.ones(1)}}, files[1])
    init_model(*files, 'cpu')
    printed = capsys.readouterr().out
    assert 'unused' in printed
    assert 'x.y' in printed


def test_unpickling_needs_trust(files):
    state = torch.load(files[1])['state_dict']
    torch.save({'state_dict': state, 'config': Config(dict())}, files[1])
    with pytest.raises(ValueError, match='is refused'):
        init_model(*files, 'cpu')
    assert init_model(*files, 'cpu', trust_checkpoint=True)


def test_official_files_serve_too(golden, tmp_path):
    sizes, tensors = golden('beit3_tiny_vqa')
    weights = {
        name.removeprefix('weights/'): value
        for name, value in tensors.items()
        if name.startswith('weights/')
    }
    torch.save({'model': weights}, tmp_path / 'official.pth')
    model = dict(
        type='beit3_mm.FusionEncoder',
        backbone={key: sizes[key] for key in captioners.SIZES}
        | dict(final_norm=False),
        head=dict(
            type='beit3_mm.VQAHead',
            embed_dims=sizes['embed_dims'],
            num_answers=len(weights['head.3.bias']),
        ),
    )
    model = init_model(
        Config(dict(model=model)), tmp_path / 'official.pth', 'cpu'
    )
    keys = 'image', 'text_ids', 'text_padding_mask'
    inputs = {key: tensors[key] for key in keys}
    inputs['text_padding_mask'] = inputs['text_padding_mask'].bool()
    with torch.no_grad():
        logits = model(inputs)
    expected = tensors['out/logits']
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
