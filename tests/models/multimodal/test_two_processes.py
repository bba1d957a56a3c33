# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models whose loss spans all processes, under DDP."""

import pytest
import torch
import torch.distributed as dist
from mmengine.structures import BaseDataElement
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from beit3_mm.models.heads import ContrastiveHead
from beit3_mm.models.multimodal import ClassNameClassifier, DualEncoder

SIZE = 6
LABELS = torch.tensor([3, 0, 3, 1, 4, 0])
LENGTHS = torch.tensor([4, 9, 3, 6, 6, 9])
WAYS = ('retrieval', 'all classes', 'classes of the batch')


def build(way, arch, chunk_size):
    torch.manual_seed(0)
    backbone = dict(arch, vocab_size=50, max_text_positions=20)
    head = dict(type=ContrastiveHead, embed_dims=arch['embed_dims'])
    if way == 'retrieval':
        model = DualEncoder(backbone, head, chunk_size)
    else:
        model = ClassNameClassifier(
            *(backbone, head, list('abcde'), 'x.spm'),
            batch_classes=way == 'classes of the batch',
            chunk_size=chunk_size,
        )
        # What the names are tokenised to
        model._texts = texts()
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def texts():
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, 50, (SIZE, 9), generator=generator)
    return ids, torch.arange(9) >= LENGTHS[:, None]


def batch(rows):
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(SIZE, 3, 32, 32, generator=generator)
    ids, padding = texts()
    inputs = dict(image=image, text_ids=ids, text_padding_mask=padding)
    return {name: x[rows] for name, x in inputs.items()}, [
        BaseDataElement(gt_label=label) for label in LABELS[rows]
    ]


def gradients(model):
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def train(arch, chunk_size):
    """Returns the gradients of the second step of each model."""
    own = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
    results = {}
    for way in WAYS:
        model = build(way, arch, chunk_size)
        wrapped = DistributedDataParallel(model)
        for _ in range(2):  # the second one fails for unused parameters
            model.zero_grad()
            wrapped(*batch(own), mode='loss')['loss'].backward()
        results[way] = gradients(model)
    model = build('retrieval', arch, None)
    try:
        model(batch(slice(dist.get_rank(), 3))[0], mode='loss')
    except ValueError as error:
        results['error'] = str(error)
    return results


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    arch = dict(img_size=32, patch_size=8, embed_dims=24, num_layers=2)
    arch |= dict(num_heads=3, feedforward_channels=48)
    folder = tmp_path_factory.mktemp('processes')
    return arch, run_in_two_processes(train, folder, arch, 2)


@pytest.mark.parametrize('way', WAYS)
def test_averaged_gradients_are_those_of_one_process(results, way):
    arch, both = results
    model = build(way, arch, None)
    model(*batch(slice(SIZE)), mode='loss')['loss'].backward()
    expected = gradients(model)
    assert expected['head.logit_scale'].abs() > 1e-3
    for result in both:
        torch.testing.assert_close(result[way], expected, rtol=1e-6, atol=1e-6)


def test_batches_of_different_sizes_are_refused_everywhere(results):
    for result in results[1]:
        assert '[3, 2] rows' in result['error']
