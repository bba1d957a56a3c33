# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Official files and ours as `init_cfg` and `load_pretrained` load them."""

import logging

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.registry import MODELS as HOST_MODELS
from mmengine.registry import DefaultScope
from official_weights import (
    ARCH,
    HEAD_TYPES,
    TEXTS,
    build,
    config,
    official,
    pretrained,
)

from beit3_mm.checkpoint import CheckpointError, convert_official
from beit3_mm.engine.pretrained import load_pretrained
from beit3_mm.registry import MODELS


@pytest.fixture
def log(tmp_path):
    """Returns what reached mmengine's log, as it is in a run."""
    path = tmp_path / 'run.log'
    MMLogger.get_instance('pretrained', log_file=str(path))
    yield path.read_text
    MMLogger._instance_dict.pop('pretrained')
    logging.root.manager.loggerDict.pop('pretrained', None)


@pytest.mark.parametrize('kind', ['model', 'module', 'safetensors'])
@pytest.mark.parametrize('task', HEAD_TYPES)
def test_models_load_their_official_file(save, task, kind):
    weights = official(task)
    model = build(task, pretrained(save(weights, kind)))
    model.init_weights()
    expected = convert_official(weights).weights
    assert model.state_dict().keys() == expected.keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize('task', HEAD_TYPES)
@pytest.mark.parametrize('source', [*HEAD_TYPES, 'pretraining', None])
def test_every_file_serves_every_task(save, source, task):
    weights = official(source)
    for path in (
        save(weights),
        save(convert_official(weights).weights, 'state_dict'),
    ):
        torch.manual_seed(1)
        model = build(task)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        report = load_pretrained(model, path)
        expected = convert_official(weights).weights
        for name, value in model.state_dict().items():
            wanted = expected.get(name, before[name])
            assert torch.equal(value, wanted), name
            assert (name in report.missing) == (name not in expected)
        assert len(report.unexpected) == len(set(expected) - set(before))
        heads = [x for x in report.missing if x.startswith('head.')]
        same = task == source or (task, source) == (
            'captioning',
            'pretraining',
        )
        assert bool(heads) != same


def test_what_became_of_the_weights_goes_to_the_log(save, log):
    path = save(official('pretraining'))
    build('vqa', pretrained(path)).init_weights()
    text = log()
    assert f'87 weights loaded from {path}' in text
    assert 'WARNING' in text
    assert '\n10 not in the checkpoint, fresh:\n  head.pooler.norm' in text
    assert '\n8 not in the model, unused:\n  beit3.encoder.layer_norm' in text
    assert '\n  mlm_head.weight\n' in text
    # mmengine's own account of who set which weight
    assert f'head.pooler.norm.weight - {torch.Size([24])}' in text


def class_names(init_cfg):
    return MODELS.build(
        dict(
            type='beit3_mm.ClassNameClassifier',
            backbone=dict(ARCH, **TEXTS),
            head=dict(type='beit3_mm.ContrastiveHead', embed_dims=24),
            class_names=['tench', 'crane'],
            model_file='unused.spm',
            init_cfg=init_cfg,
        )
    )


def test_a_classifier_by_names_loads_retrieval(save):
    weights = official('retrieval')
    model = class_names(pretrained(save(weights)))
    model.init_weights()
    for name, value in convert_official(weights).weights.items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize('at', ['model', 'backbone'])
def test_the_hosts_classifier_loads_an_official_file(golden, save, at):
    settings, tensors = golden('beit3_tiny_classification')
    weights = {
        name.removeprefix('weights/'): x
        for name, x in tensors.items()
        if name.startswith('weights/')
    }
    init_cfg = pretrained(save(weights))
    vit = {key: settings[key] for key in ARCH}
    vit |= dict(type='beit3_mm.BEiT3ViT', with_cls_token=True)
    cfg = dict(
        type='mmpretrain.ImageClassifier',
        backbone=vit,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='beit3_mm.ClassificationHead',
            embed_dims=vit['embed_dims'],
            num_classes=len(weights['head.bias']),
        ),
    )
    (cfg if at == 'model' else vit)['init_cfg'] = init_cfg
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = HOST_MODELS.build(cfg)
    fresh = model.head.fc.weight.clone()
    model.init_weights()
    converted = convert_official(weights).weights
    assert torch.equal(
        model.backbone.encoder.layers[0].ffn['vision'].fc1.bias,
        converted['backbone.encoder.layers.0.ffn.vision.fc1.bias'],
    )
    wanted = fresh if at == 'backbone' else weights['head.weight']
    assert torch.equal(model.head.fc.weight, wanted)
    if at == 'model':
        torch.testing.assert_close(
            model.eval()(tensors['image']),
            tensors['out/logits'],
            rtol=0,
            atol=1e-6,
        )


def test_positions_and_patches_of_half_precision_files(save):
    weights = official(None, torch.half)
    model = build('vqa', img_size=60, patch_size=10)
    load_pretrained(model, save(weights))
    embedding = model.backbone.vision_embedding
    table = weights['beit3.encoder.embed_positions.A.weight'].float()
    grid = table[3:].T.reshape(1, 24, 4, 4)
    grid = F.interpolate(grid, (6, 6), mode='bicubic', align_corners=False)
    expected = torch.cat([table[:3], grid[0].flatten(1).T])
    assert embedding.positions.weight.dtype == torch.float32
    assert torch.equal(embedding.positions.weight, expected)
    assert not torch.equal(expected, expected.half().float())  # not rounded
    kernel = F.interpolate(
        weights['beit3.vision_embed.proj.weight'].float(),
        (10, 10),
        mode='bicubic',
        align_corners=False,
    )
    assert torch.equal(embedding.proj.weight, kernel)


def test_one_encoder_of_several_is_named_by_its_prefix(save):
    ours = convert_official(official('vqa')).weights
    both = {f'teacher.{k}': v for k, v in ours.items()}
    both |= {f'student.{k}': v + 1 for k, v in ours.items()}
    path = save(both, 'state_dict')
    with pytest.raises(CheckpointError, match=r'holds 2 .*student.*prefix='):
        build('vqa', pretrained(path)).init_weights()
    for prefix in ('student', 'student.'):
        model = build('vqa', pretrained(path, prefix=prefix))
        model.init_weights()
        for name, value in model.state_dict().items():
            assert torch.equal(value, ours[name] + 1)


@pytest.mark.parametrize('head', ['VQAHead', 'NLVR2Head'])
def test_files_of_other_models_are_refused(save, head):
    task = 'vqa' if head == 'VQAHead' else 'nlvr2'
    shapes = {k: v.shape for k, v in build(task).head.state_dict().items()}
    for weights, message in (
        ({'blocks.0.norm.bias': torch.zeros(24)}, r'holds 0 .*blocks\.0\.no'),
        ({f'head.{k}': torch.zeros(v) for k, v in shapes.items()}, 'holds 0'),
        (official(task, embed_dims=48), '48 channels, 2 layers'),
    ):
        path = save(weights)
        with pytest.raises(CheckpointError, match=message) as refusal:
            build(task, pretrained(path)).init_weights()
        assert path in str(refusal.value)
    with pytest.raises(FileNotFoundError, match=r'file gone\.pth'):
        build(task, pretrained('gone.pth')).init_weights()


def test_other_models_and_initialisers_stay_mmengines(save, log):
    path = save({'layers.0.bias': torch.ones(3)}, 'state_dict')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        resnet = HOST_MODELS.build(
            dict(
                type='mmpretrain.ResNet',
                depth=18,
                stem_channels=4,
                base_channels=4,
                init_cfg=pretrained(path),
            )
        )
    resnet.init_weights()  # mmengine's way: nothing fits, and it goes on
    assert 'do not match exactly' in log()
    cfg = config('vqa', dict(type='Constant', layer='Linear', val=0.5))
    model = MODELS.build(cfg)
    model.init_weights()
    assert (model.head.pooler.dense.weight == 0.5).all()
