# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""`load_from` and `tools/test.py` with official files."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmengine.structures import BaseDataElement
from official_weights import config, official
from safetensors.torch import save_file
from torch.utils.data import Dataset

from beit3_mm.checkpoint import convert_official
from beit3_mm.engine.loading import load_weights
from beit3_mm.registry import MODELS

RUNTIME = Path(__file__).parents[2] / 'configs' / '_base_' / 'runtime.py'
RUN = """
_base_ = ['{runtime}']
model = dict(
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        mean=[127.5] * 3, std=[127.5] * 3), **{model})
data = dict(
    batch_size=2, num_workers=0, dataset=dict(type='RandomQuestions'),
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False))
train_dataloader = data
test_dataloader = data
train_cfg = dict(type='mmengine.IterBasedTrainLoop', max_iters=1)
test_cfg = dict(type='mmengine.TestLoop')
test_evaluator = dict(type='FirstScore')
# Without steps of its own, what was loaded is what is saved.
optim_wrapper = dict(
    type='mmengine.OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1))
custom_hooks = [dict(type='mmengine.EMAHook')]
log_processor = dict(by_epoch=False)
load_from = {load_from!r}
"""


@DATASETS.register_module()
class RandomQuestions(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        sample = BaseDataElement()
        sample.gt_labels, sample.gt_scores = torch.tensor([1]), torch.ones(1)
        image = torch.randint(255, (3, 48, 48), generator=generator)
        inputs = {'image': image, 'text_ids': torch.tensor([0, 5, 2])}
        return {'inputs': inputs, 'data_samples': sample}


@METRICS.register_module()
class FirstScore(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [x['pred_scores'][0].item() for x in data_samples]

    def compute_metrics(self, results):
        return {'first': results[0]}


@pytest.fixture
def write(tmp_path):
    """Writes an official file and a config that loads it."""
    count = 0

    def write_config(weights, name='official.pth', task='vqa'):
        nonlocal count
        count += 1
        path = tmp_path / name
        if path.suffix == '.safetensors':
            save_file(weights, path)
        else:
            torch.save({'model': weights}, path)
        text = RUN.format(
            runtime=RUNTIME,
            model=config(task, img_size=48),
            load_from=str(path),
        )
        file = tmp_path / f'official{task}{count}{path.suffix[1:]}.py'
        file.write_text(text)
        return file, path

    return write_config


def test_training_begins_with_an_official_file(
    run_tool, write, tmp_path, capsys
):
    weights = official('pretraining', torch.half)
    for name in ('official.pth', 'official.safetensors'):
        file, path = write(weights, name)
        run_tool('train', file, '--work-dir', tmp_path / path.suffix[1:])
        printed = capsys.readouterr().out
        assert f'87 weights loaded from {path}' in printed
        assert '(19, 24) in the checkpoint, (39, 24) in the model' in printed
        assert '\n  head.classifier.3.weight\n' in printed
        assert '\n  mlm_head.weight\n' in printed
        saved = torch.load(
            tmp_path / path.suffix[1:] / 'iter_1.pth', weights_only=True
        )
        expected = convert_official(weights, 'vqa').weights
        expected.pop('backbone.vision_embedding.positions.weight')
        for key, value in expected.items():
            # The average of the weights began with them as well.
            for state in (
                saved['state_dict'][key],
                saved['ema_state_dict'][f'module.{key}'],
            ):
                torch.testing.assert_close(state, value.float())


def test_an_official_model_is_tested_as_it_is(
    run_tool, write, tmp_path, capsys
):
    file, path = write(official('vqa'))
    run_tool('test', file, path, '--work-dir', tmp_path / 'w')
    printed = capsys.readouterr().out
    assert '97 weights loaded' in printed
    model = MODELS.build(Config.fromfile(file).model)
    load_weights(model, torch.load(path), 'a.pth')
    data = pseudo_collate([RandomQuestions()[i] for i in range(2)])
    with torch.no_grad():
        expected = model.eval().test_step(data)[0].pred_scores[0]
    assert f'first: {expected:.4f}' in printed


@pytest.mark.parametrize(
    ('task', 'options', 'message'),
    [
        # Parts of another task's model are no model to test
        ('nlvr2', {}, r'not a checkpoint of this model: .*head\.pooler'),
        ('vqa', dict(embed_dims=48), r'does not fit this model: 48 channels'),
    ],
)
def test_other_models_cannot_be_tested(
    run_tool, write, tmp_path, task, options, message
):
    file, path = write(official(task, **options))
    with pytest.raises(SystemExit) as end:
        run_tool('test', file, path, '--work-dir', tmp_path / 'w')
    assert str(path) in end.value.code
    assert re.search(message, ' '.join(end.value.code.split()))


def test_weights_alone_cannot_be_resumed(run_tool, write, tmp_path):
    file, path = write(official('vqa'))
    with pytest.raises(SystemExit, match=r'by load_from, not by --resume'):
        run_tool(
            *('train', file, '--work-dir', tmp_path / 'w'),
            *('--resume', path),
        )
