# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from beit3_mm.models.heads.mdm import PARTS, MaskedModelingHead

DIMS, NUM_IDS, NUM_CODES = 8, 30, 12
COUNTS = dict(image=9, text=5, pair_image=8, pair_text=6)
# Tokens of the first of two processes; the second may have none of a part.
SHARES = dict(image=2, text=5, pair_image=7, pair_text=1)
SIZES = dict(visual=NUM_CODES, lm=NUM_IDS)


def build():
    torch.manual_seed(0)
    head = MaskedModelingHead(DIMS, NUM_IDS, NUM_CODES)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return head


def batch(counts=COUNTS):
    generator = torch.Generator().manual_seed(1)
    tokens, targets = {}, {}
    for part, count in counts.items():
        tokens[part] = torch.randn(count, DIMS, generator=generator)
        size = SIZES[PARTS[part][0]]
        targets[part] = torch.randint(size, (count,), generator=generator)
    return tokens, targets


def total(losses):
    """What mmengine trains on."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def test_names_are_those_of_the_key_table():
    assert {name: x.shape for name, x in build().state_dict().items()} == {
        'lm.weight': (NUM_IDS, DIMS),
        'lm.bias': (NUM_IDS,),
        'visual.weight': (NUM_CODES, DIMS),
        'visual.bias': (NUM_CODES,),
    }
    assert MaskedModelingHead(DIMS, NUM_IDS).visual.out_features == 8192


def test_weights_start_small_and_biases_at_zero():
    head = MaskedModelingHead(32, 1000)
    for layer in (head.lm, head.visual):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()


def test_each_part_meets_its_own_vocabulary():
    head, (tokens, _) = build(), batch()
    logits = head(tokens)
    assert list(logits) == list(COUNTS)
    for part, value in logits.items():
        layer = head.visual if 'image' in part else head.lm
        assert torch.equal(value, layer(tokens[part]))
    assert list(head({'text': tokens['text']})) == ['text']


def test_losses_are_means_and_accuracies_shares():
    head, (tokens, targets) = build(), batch()
    losses, logits = head.loss(tokens, targets), head(tokens)
    assert list(losses) == [
        *('loss_image', 'acc_image', 'loss_text', 'acc_text'),
        *('loss_pair_image', 'acc_pair_image'),
        *('loss_pair_text', 'acc_pair_text'),
    ]
    for part in COUNTS:
        torch.testing.assert_close(
            losses[f'loss_{part}'],
            F.cross_entropy(logits[part], targets[part]),
        )
        right = logits[part].argmax(1) == targets[part]
        torch.testing.assert_close(losses[f'acc_{part}'], right.float().mean())
        assert not losses[f'acc_{part}'].requires_grad


def test_parts_that_are_absent_have_no_loss():
    head, (tokens, targets) = build(), batch()
    only = head.loss({'text': tokens['text']}, targets)
    assert list(only) == ['loss_text', 'acc_text']
    assert only['loss_text'] == head.loss(tokens, targets)['loss_text']


def test_no_token_is_no_loss_and_a_gradient():
    head = build()
    losses = head.loss(*batch(dict.fromkeys(COUNTS, 0)))
    total(losses).backward()
    assert not any(losses.values())
    for parameter in head.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def losses_of_a_process():
    """Returns losses and gradients, as DDP averages them, of a process."""
    tokens, targets = batch()
    rank = dist.get_rank()
    own = [
        {part: x[part].tensor_split([SHARES[part]])[rank] for part in x}
        for x in (tokens, targets)
    ]
    model = build()
    wrapped = DistributedDataParallel(Trained(model))
    losses = wrapped(*own)
    total(losses).backward()
    return (
        {name: value.detach() for name, value in losses.items()},
        {name: x.grad for name, x in model.named_parameters()},
    )


class Trained(nn.Module):
    """Computes losses in `forward`, which is what DDP watches."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, tokens, targets):
        return self.head.loss(tokens, targets)


def test_processes_with_different_numbers_of_tokens_share_one_mean(tmp_path):
    head = build()
    losses = head.loss(*batch())
    total(losses).backward()
    for result in run_in_two_processes(losses_of_a_process, tmp_path):
        for name, value in losses.items():
            torch.testing.assert_close(result[0][name], value.detach())
        for name, parameter in head.named_parameters():
            torch.testing.assert_close(result[1][name], parameter.grad)


def test_the_loss_is_computed_in_float32():
    head, (tokens, targets) = build(), batch()
    with torch.autocast('cpu', torch.bfloat16):
        assert head(tokens)['text'].dtype == torch.bfloat16
        losses = head.loss(tokens, targets)
    expected = head.loss(tokens, targets)
    for part in COUNTS:
        loss = losses[f'loss_{part}']
        assert loss.dtype == torch.float32
        torch.testing.assert_close(
            loss, expected[f'loss_{part}'], rtol=0.02, atol=0
        )


def test_errors():
    head, (tokens, targets) = build(), batch()
    with pytest.raises(ValueError, match=r"tokens of \['video'\]; known are"):
        head({'video': tokens['text']})
    short = dict(targets, text=targets['text'][1:])
    with pytest.raises(
        ValueError, match=r'target_ids of shape \(4,\) .* 5 masked .* of text'
    ):
        head.loss(tokens, short)
    wrong = dict(targets, pair_image=targets['pair_image'] + NUM_CODES)
    with pytest.raises(
        ValueError, match=r'of pair_image hold \[12, .* 0 to 11: num_v'
    ):
        head.loss(tokens, wrong)
