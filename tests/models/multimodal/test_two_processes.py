# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Models whose loss spans all processes, under DDP and sharded."""

import itertools

import dual_encoders
import pytest
import torch
import torch.distributed as dist
from dual_encoders import LENGTHS, NUM_WORDS, SIZE, texts
from mmengine.structures import BaseDataElement
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from beit3_mm.engine import FSDP2Strategy
from beit3_mm.models.heads import ContrastiveHead
from beit3_mm.models.multimodal import ClassNameClassifier

LABELS = torch.tensor([3, 0, 3, 1, 4, 0])
WAYS = ('retrieval', 'all classes', 'classes of the batch')


def build(way, arch, chunk_size):
    retrieval = dual_encoders.build(arch, chunk_size)
    if way == 'retrieval':
        return retrieval
    model = ClassNameClassifier(
        dict(arch, vocab_size=NUM_WORDS, max_text_positions=20),
        dict(type=ContrastiveHead, embed_dims=arch['embed_dims']),
        list('abcde'),
        'x.spm',
        batch_classes=way == 'classes of the batch',
        chunk_size=chunk_size,
    )
    # What the names are tokenised to: five, which two cannot share equally
    model._texts = tuple(texts(*LENGTHS[:5]).values())
    model.load_state_dict(retrieval.state_dict())
    return model


def batch(rows):
    inputs = {name: x[rows] for name, x in dual_encoders.batch().items()}
    return inputs, [BaseDataElement(gt_label=label) for label in LABELS[rows]]


def gradients(model):
    """Returns them whole, of sharded parameters too."""
    return {
        name: getattr(parameter.grad, 'full_tensor', parameter.grad.clone)()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def shard(model, folder):
    strategy = FSDP2Strategy(
        work_dir=folder, env_kwargs=dict(launcher='pytorch')
    )
    strategy.prepare(model)
    return strategy.model


WRAPPERS = {
    'DDP': lambda model, folder: DistributedDataParallel(model),
    'FSDP2': shard,
}


def train(arch, chunk_size, folder):
    """Returns the gradients of the second step of each model."""
    own = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
    results = {}
    for way, (name, wrap) in itertools.product(WAYS, WRAPPERS.items()):
        model = build(way, arch, chunk_size)
        wrapped = wrap(model, folder)
        for _ in range(2):  # the second one fails for unused parameters
            model.zero_grad()
            wrapped(*batch(own), mode='loss')['loss'].backward()
        results[name, way] = gradients(model)
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
    return arch, run_in_two_processes(train, folder, arch, 2, str(folder))


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_averaged_gradients_are_those_of_one_process(results, wrapper, way):
    arch, both = results
    model = build(way, arch, None)
    model(*batch(slice(SIZE)), mode='loss')['loss'].backward()
    expected = gradients(model)
    assert expected['head.logit_scale'].abs() > 1e-3
    for result in both:
        torch.testing.assert_close(
            result[wrapper, way], expected, rtol=1e-6, atol=1e-6
        )


def test_batches_of_different_sizes_are_refused_everywhere(results):
    for result in results[1]:
        assert '[3, 2] rows' in result['error']
