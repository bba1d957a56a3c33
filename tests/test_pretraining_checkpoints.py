# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""One checkpoint of pretraining serves every task, by `load_from`."""

import re
from functools import cache
from pathlib import Path

import masked_modeling
import official_weights
import pytest
import tiny_tasks
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from beit3_mm.checkpoint import encoder_prefixes
from beit3_mm.engine.loading import load_weights

CONFIGS = Path(__file__).parents[1] / 'configs'
TASKS = (
    *('det', 'seg', 'vqa', 'nlvr2', 'caption', 'retrieval'),
    'classification',
)
RECIPES = sorted(
    str(path.relative_to(CONFIGS))
    for task in TASKS
    for path in CONFIGS.glob(f'{task}/*.py')
)
HEADS = {'head.lm.weight', 'head.lm.bias'}
VISUAL = {'head.visual.weight', 'head.visual.bias'}
# What a task leaves unused of a checkpoint; of the encoder, by patterns.
VISION_ONLY = r'text_embedding|\.language\.|vision_language|mask_token'
UNUSED = {
    'det': f'{VISION_ONLY}|cls_token|encoder.norm|head',
    'seg': f'{VISION_ONLY}|encoder.norm|head',
    # heads of one's own in all of these
    'vqa': r'encoder\.norm|head',
    'nlvr2': 'head',
    'retrieval': 'head',
    'classification': f'{VISION_ONLY}|encoder.norm|head',
    'names': 'head',
    # the experts: a switch that is off
    'caption': r'head\.visual|vision_language',
}


def meta_model(config):
    scope = DefaultScope.overwrite_default_scope('mmengine')
    with scope, torch.device('meta'):
        return MODELS.build(config)


@cache
def pretrained(size):
    """Returns names and shapes of a pretraining checkpoint, as tensors."""
    path = CONFIGS / 'pretrain' / f'beit3{size}_mdm.py'
    return meta_model(Config.fromfile(path).model).state_dict()


@pytest.mark.filterwarnings('ignore:.*copying from a non-meta parameter')
@pytest.mark.parametrize('name', RECIPES)
def test_it_loads_into_every_recipe(name):
    size = re.search('beit3((?:-large|-giant)?)_', name)[1]
    model = meta_model(Config.fromfile(CONFIGS / name).model)
    report = load_weights(model, pretrained(size), 'mdm.pth')
    (prefix,) = encoder_prefixes(model.state_dict())
    encoder = re.compile(
        rf'{prefix}(?:vision_embedding|text_embedding|encoder)\.'
    )
    own = {x for x in model.state_dict() if encoder.match(x)}
    assert len(own) > 100
    assert own <= set(report.loaded)
    # The patch kernel and the vision positions may have another size.
    assert not report.mismatched
    assert all('vision_embedding' in x for x in report.resized)
    task = 'names' if '_names_' in name else name.split('/')[0]
    for key in report.unexpected:
        assert re.search(UNUSED[task], key), key
    assert set(report.unexpected) >= VISUAL
    assert (task == 'caption') == (set(report.loaded) >= HEADS)
    text = str(report)
    assert f'{len(report.loaded)} weights loaded from mdm.pth' in text
    assert '\n  head.visual.weight\n' in f'{text}\n'


@pytest.mark.parametrize('task', [None, 'pretraining', 'vqa'])
def test_pretraining_goes_on_from_released_files(task):
    arch = official_weights.ARCH
    config = masked_modeling.config(arch)
    config['backbone'] = dict(arch, **official_weights.TEXTS)
    config['head'].update(num_visual_codes=8192)
    model = MODELS.build(config)
    weights = official_weights.official(task)
    report = load_weights(model, weights, 'beit3.pth')
    own = model.state_dict()
    heads = {x for x in own if x.startswith('head.')}
    norm = {x for x in own if '.encoder.norm.' in x}
    fresh = {None: heads, 'pretraining': set(), 'vqa': heads | norm}[task]
    assert set(report.missing) == fresh
    if task == 'pretraining':
        assert report.complete and not report.unexpected
        value = weights['mim_head.weight']
        assert torch.equal(own['head.visual.weight'], value)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Writes a checkpoint of a tiny model; returns the path and weights."""
    folder = tmp_path_factory.mktemp('mdm')
    model = masked_modeling.build(
        tiny_tasks.ARCH, visual_tokenizer=masked_modeling.STUB
    )
    model.backbone.text_embedding.positions = torch.nn.Embedding(34, 24)
    path = folder / 'mdm.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path, model.state_dict()


@pytest.mark.parametrize('kind', tiny_tasks.KINDS)
def test_a_runner_takes_it_and_says_so(
    kind, checkpoint, tokenizer_file, tmp_path
):
    path, weights = checkpoint
    config = tiny_tasks.config_of(kind, tokenizer_file, tmp_path)
    with DefaultScope.overwrite_default_scope('mmengine'):
        model = MODELS.build(config.model)
    runner = Runner(
        model,
        work_dir=str(tmp_path),
        experiment_name=f'load_{kind}',
        load_from=str(path),
        cfg=dict(load_from=str(path)),
        default_hooks=dict(
            load_checkpoint=dict(type='beit3_mm.LoadCheckpointHook')
        ),
    )
    runner.load_or_resume()
    taken = 0
    for name, value in runner.model.state_dict().items():
        source = re.sub(r'^.*?backbone\.(vit\.)?', 'backbone.', name)
        if source in weights:
            assert torch.equal(value, weights[source]), name
            taken += 1
    assert taken > 30
    (log,) = Path(runner.log_dir).glob('*.log')
    log = log.read_text()
    assert re.search(rf'\d+ weights loaded from {path}', log)
    assert 'not in the model, unused:\n' in log
    assert '\n  head.visual.weight\n' in log
    assert ('\n  head.lm.weight\n' in log) == (kind != 'caption')
