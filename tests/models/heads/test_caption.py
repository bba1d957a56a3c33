# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from two_processes import run_in_two_processes

from beit3_mm.models.heads import CaptionHead

DIMS, NUM_IDS = 8, 30
SHARES = (7, 3)  # tokens of each of two processes


def build(**options):
    torch.manual_seed(0)
    head = CaptionHead(DIMS, NUM_IDS, **options)
    torch.nn.init.normal_(head.lm.weight)
    torch.nn.init.normal_(head.lm.bias)
    return head


def sample(number=10):
    torch.manual_seed(1)
    tokens = torch.randn(number, DIMS, requires_grad=True)
    return tokens, torch.randint(NUM_IDS, (number,))


def dense_losses(logits, target_ids, smoothing):
    """The KL divergence from a target of all ids, token by token."""
    false = smoothing / (NUM_IDS - 1)
    target = torch.full_like(logits, false)
    target[range(len(logits)), target_ids] = 1 - smoothing
    log_probs = logits.log_softmax(1)
    return F.kl_div(log_probs, target, reduction='none').sum(1)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.6])
def test_the_loss_is_the_divergence_from_a_smoothed_target(smoothing):
    head = build(label_smoothing=smoothing)
    tokens, target_ids = sample()
    loss = head.loss(tokens, target_ids)['loss']
    expected = dense_losses(head(tokens), target_ids, smoothing).mean()
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, [tokens, *head.parameters()])
    dense = torch.autograd.grad(expected, [tokens, *head.parameters()])
    torch.testing.assert_close(gradients, dense)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_prediction_that_is_the_target_costs_nothing():
    head = CaptionHead(1, NUM_IDS, label_smoothing=0.1)
    target = torch.full((NUM_IDS,), 0.1 / (NUM_IDS - 1))
    target[4] = 0.9
    head.lm.bias.data = target.log()
    loss = head.loss(torch.zeros(1, 1), torch.tensor([4]))['loss']
    assert abs(loss.item()) < 1e-6


@pytest.mark.parametrize(('number', 'kept'), [(10, 8), (9, 7), (1, 1)])
def test_the_worst_tokens_are_dropped_after_some_iterations(number, kept):
    head = build(drop_worst_after=5)
    tokens, target_ids = sample(number)
    losses = dense_losses(head(tokens), target_ids, 0.1)
    for iteration, expected in (
        (0, losses.mean()),
        (4, losses.mean()),
        (5, losses.sort().values[:kept].mean()),
        (10**6, losses.sort().values[:kept].mean()),
    ):
        loss = head.loss(tokens, target_ids, iteration)['loss']
        torch.testing.assert_close(loss, expected)
    all_tokens = build(drop_worst_after=0, drop_worst_ratio=0.0)
    loss = all_tokens.loss(tokens, target_ids, 1)['loss']
    torch.testing.assert_close(loss, losses.mean())


@pytest.mark.parametrize('iteration', [0, 12000])
def test_no_token_is_no_loss_and_a_gradient(iteration):
    head = build()
    loss = head.loss(*sample(0), iteration)['loss']
    loss.backward()
    assert loss == 0
    for parameter in head.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def gradients(iteration, *parts):
    """Returns gradients of the mean loss of parts that are given at once."""
    head = build(drop_worst_after=1)
    tokens, target_ids = sample()
    losses = [
        dense_losses(head(x), ids, 0.1)
        for x, ids in zip(tokens.split(parts), target_ids.split(parts))
    ]
    if iteration:
        losses = [x.sort().values[: int(0.8 * len(x))] for x in losses]
    loss = torch.cat(losses).mean()
    return [loss, *torch.autograd.grad(loss, head.parameters())]


def gradients_of_a_process():
    """Returns what DDP would make of the gradients, and the mean loss."""
    head, rank = build(drop_worst_after=1), dist.get_rank()
    tokens, ids = (x.split(SHARES)[rank] for x in sample())
    results = []
    for iteration in (0, 1):
        loss = head.loss(tokens, ids, iteration)['loss']
        own = torch.autograd.grad(loss, head.parameters())
        own = [x.detach() / dist.get_world_size() for x in (loss, *own)]
        for x in own:
            dist.all_reduce(x)
        results.append(own)
    return results


def test_processes_with_different_numbers_of_tokens_share_one_mean(tmp_path):
    for result in run_in_two_processes(gradients_of_a_process, tmp_path):
        for iteration in (0, 1):
            loss, *rest = gradients(iteration, *SHARES)
            torch.testing.assert_close(
                result[iteration], [loss.detach(), *rest]
            )
    assert not torch.allclose(gradients(1, *SHARES)[0], gradients(1, 10)[0])


def test_few_tokens_meet_the_same_layer():
    head = build()
    tokens, _ = sample(24)
    whole = head(tokens)
    torch.testing.assert_close(whole, head.lm(tokens))
    for shape in ((24,), (6, 4), (4, 2, 3)):
        parts = tokens.view(*shape, DIMS)
        logits = torch.stack([head(part) for part in parts])
        torch.testing.assert_close(logits, whole.view(*shape, NUM_IDS))


def test_the_loss_is_computed_in_float32():
    head = build()
    tokens, target_ids = sample()
    with torch.autocast('cpu', torch.bfloat16):
        assert head(tokens).dtype == torch.bfloat16
        loss = head.loss(tokens, target_ids)['loss']
    assert loss.dtype == torch.float32
    expected = head.loss(tokens, target_ids)['loss']
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)


def test_predictions_are_put_into_the_samples():
    ids = torch.tensor([[0, 5, 2], [0, 6, 2]])
    samples = [BaseDataElement(metainfo=dict(image_id=i)) for i in range(2)]
    result = build().predict(ids, samples)
    for i in range(2):
        assert result[i].image_id == i
        assert torch.equal(result[i].pred_ids, ids[i])
    with pytest.raises(ValueError, match='shorter'):
        build().predict(ids, samples + samples)


def test_weights_start_small_and_biases_at_zero():
    head = CaptionHead(32, 1000)
    assert set(head.state_dict()) == {'lm.weight', 'lm.bias'}
    assert head.lm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not head.lm.bias.any()


def test_errors():
    with pytest.raises(ValueError, match=r'label_smoothing=0\.97 .*1 / 30'):
        build(label_smoothing=0.97)
    with pytest.raises(ValueError, match='label_smoothing=-1'):
        build(label_smoothing=-1)
    with pytest.raises(ValueError, match='drop_worst_ratio=1 '):
        build(drop_worst_ratio=1)
    with pytest.raises(ValueError, match=r'\(3,\) do not fit 10 tokens'):
        build().loss(sample()[0], torch.tensor([1, 2, 3]))
