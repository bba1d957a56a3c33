# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Two DDP processes with half of a batch each, beside one with all of it.

Of the tasks whose loss spans all processes, `multimodal/test_two_processes`
and `pretraining/` have tests of their own.
"""

import copy
from contextlib import contextmanager
from unittest import mock

import captioners
import numpy as np
import pytest
import segmentors
import tiny_tasks
import torch
import torch.distributed as dist
import torch.nn.functional as F
from dual_encoders import texts
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

SIZE = 4
EXACT = ('vqa', 'nlvr2', 'caption', 'linear', 'equal segmentation')
HOSTS = ('detection', 'segmentation', 'equal segmentation')
WORDS = (2, 1, 7, 6)  # to be predicted of each caption
OBJECTS = (1, 2, 3, 2)  # of each image
EQUAL_OBJECTS = (1, 2, 2, 1)
LABELS = (1, 0, 0, 1)


def images(*shape):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(SIZE, *shape, 3, 32, 32, generator=generator)


def words(*lengths):
    inputs = texts(*lengths)
    inputs['text_ids'] %= captioners.MASK_ID
    return inputs


def vqa(rows):
    samples = [
        BaseDataElement(
            gt_labels=torch.arange(i), gt_scores=torch.full((i,), 0.3 * i)
        )
        for i in range(SIZE)
    ]
    inputs = dict(image=images(), **words(4, 9, 3, 6))
    return select(inputs, samples, rows)


def nlvr2(rows):
    samples = [BaseDataElement(gt_label=torch.tensor(i)) for i in LABELS]
    inputs = dict(image=images(2), **words(4, 9, 3, 6))
    return select(inputs, samples, rows)


def caption(rows):
    inputs = words(9, 9, 9, 8)
    ids = inputs['text_ids']
    mask = torch.arange(9) < torch.tensor(WORDS)[:, None]
    mask = mask.roll(1, dims=1)
    inputs |= dict(
        image=images(),
        target_ids=ids,
        text_ids=ids.masked_fill(mask, captioners.MASK_ID),
        text_mask=mask,
    )
    return select(inputs, [BaseDataElement() for _ in ids], rows)


def linear(rows):
    samples = [BaseDataElement(gt_label=torch.tensor([i])) for i in LABELS]
    return dict(inputs=images()[rows], data_samples=samples[rows])


def select(inputs, samples, rows):
    inputs = {name: x[rows] for name, x in inputs.items()}
    return dict(inputs=inputs, data_samples=samples[rows])


def detection(rows):
    """Images of 64 x 64 with boxes and masks."""
    generator = np.random.default_rng(0)
    images, samples = [], []
    for count in OBJECTS:
        low = generator.integers(0, 30, (count, 2))
        size = generator.integers(12, 34, (count, 2))
        boxes = np.concatenate([low, low + size], 1)
        masks = np.zeros((count, 64, 64), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample()
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float)),
            labels=torch.arange(count),
            masks=BitmapMasks(masks, 64, 64),
        )
        sample.ignored_instances = InstanceData(
            bboxes=HorizontalBoxes(torch.zeros(0, 4)),
            labels=torch.zeros(0, dtype=torch.long),
        )
        sample.set_metainfo(dict(img_shape=(64, 64), ori_shape=(64, 64)))
        pixels = generator.integers(0, 256, (3, 64, 64), dtype=np.uint8)
        images.append(torch.from_numpy(pixels))
        samples.append(sample)
    return dict(inputs=images[rows], data_samples=samples[rows])


def segmentation(rows, largest_labels=OBJECTS):
    """Masks whose labels begin at 0."""
    batch = segmentors.batch(*[(64, 64)] * SIZE)
    for count, sample in zip(largest_labels, batch['data_samples']):
        sample.gt_sem_seg.data.clamp_(max=count)
    return {name: x[rows] for name, x in batch.items()}


def equal_segmentation(rows):
    return segmentation(rows, EQUAL_OBJECTS)


BATCHES = {
    'vqa': vqa,
    'nlvr2': nlvr2,
    'caption': caption,
    'linear': linear,
    'detection': detection,
    'segmentation': segmentation,
    'equal segmentation': equal_segmentation,
}


def build(task, config):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(copy.deepcopy(config)))
    if task not in HOSTS:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


@contextmanager
def same_draws():
    """Draws the same for every image: of boxes the same share, of each mask
    the same points.
    """

    def rand(*shape, **options):
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        generator = torch.Generator().manual_seed(0)
        row = torch.empty(shape[1:]).uniform_(generator=generator)
        return row.expand(shape).clone()

    def randperm(number, **options):
        order = torch.arange(number, dtype=torch.double).mul(1.618).frac()
        return order.argsort()

    with (
        mock.patch.object(torch, 'rand', rand),
        mock.patch.object(torch, 'randperm', randperm),
    ):
        yield


def step(model, task, rows, forward=None):
    """Returns the loss and each trained parameter's gradient."""
    batch = BATCHES[task](rows)
    if task in HOSTS:
        batch = model.data_preprocessor(batch, training=True)
    model.zero_grad()
    with same_draws():
        losses = (forward or model)(**batch, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return loss.detach(), gradients


def train(configs):
    """Returns what each task's second step with half of a batch gives."""
    half = SIZE // 2
    own = slice(half * dist.get_rank(), half * (dist.get_rank() + 1))
    results = {}
    for task, config in configs.items():
        model = build(task, config)
        wrapped = DistributedDataParallel(model)
        for _ in range(2):  # the second one fails for unused parameters
            results[task] = step(model, task, own, wrapped)
    return results


@pytest.fixture(scope='module')
def runs(tmp_path_factory, tokenizer_file):
    """Returns each task's results in one process and in two."""
    folder = tmp_path_factory.mktemp('processes')
    configs = {
        task: tiny_tasks.KINDS[task](tokenizer_file, folder)['model']
        for task in ('vqa', 'nlvr2', 'caption', 'linear', 'detection')
    }
    for task in ('segmentation', 'equal segmentation'):
        configs[task] = segmentors.config().to_dict()
    both = run_in_two_processes(train, folder, configs)
    whole = {
        task: step(build(task, config), task, slice(SIZE))
        for task, config in configs.items()
    }
    return {task: (whole[task], [x[task] for x in both]) for task in whole}


@pytest.mark.parametrize('task', EXACT)
def test_two_processes_train_as_one(runs, task):
    (loss, gradients), both = runs[task]
    for _, averaged in both:
        torch.testing.assert_close(averaged, gradients, rtol=1e-5, atol=1e-6)
    losses = torch.stack([own for own, _ in both])
    torch.testing.assert_close(losses.mean(), loss, rtol=1e-6, atol=0)
    assert (losses[0] - losses[1]).abs() > 0.01 * loss


@pytest.mark.parametrize(
    ('task', 'smallest_cosine'),
    [('detection', 0.9999), ('segmentation', 0.995)],
)
def test_hosts_losses_are_means_of_each_process(runs, task, smallest_cosine):
    """Halves with 3 and 5 objects: mmdet divides by counts of a process."""
    (loss, gradients), both = runs[task]
    expected = flatten(gradients)
    for _, averaged in both:
        actual = flatten(averaged)
        assert F.cosine_similarity(actual, expected, dim=0) > smallest_cosine
        torch.testing.assert_close(
            actual.norm(), expected.norm(), rtol=0.03, atol=0
        )
    losses = torch.stack([own for own, _ in both])
    torch.testing.assert_close(losses.mean(), loss, rtol=0.01, atol=0)


def flatten(gradients):
    return torch.cat([x.flatten() for x in gradients.values()]).double()
