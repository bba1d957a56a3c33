# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import masked_modeling
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from masked_modeling import (
    GRID,
    KINDS,
    NUM_CODES,
    NUM_WORDS,
    SIZE,
    STUB,
    TEXTS,
    VIEW,
    batch,
    build,
    total,
)
from mmengine.structures import BaseDataElement
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from beit3_mm.registry import MODELS

PARTS = ('image', 'text', 'pair_image', 'pair_text')
SIZES = dict(image=NUM_CODES, text=NUM_WORDS)


@pytest.fixture(params=['released', 'paper'])
def arch(request, tiny_arch, paper_form):
    return tiny_arch | (paper_form if request.param == 'paper' else {})


def masked(inputs, part):
    """Returns what is masked in a part, and the true ids."""
    kind, _, key = part.rpartition('_')
    names = dict(
        image=('image_mask', 'visual_ids'), text=('text_mask', 'target_ids')
    )
    return [inputs[kind or key][name] for name in names[key]]


@torch.no_grad()
def test_losses_are_those_of_a_pass_for_each_sample(arch):
    """The plain way: one sample at a time, logits everywhere."""
    model, inputs = build(arch).eval(), batch()
    plain = {part: ([], []) for part in PARTS}
    for kind, x in inputs.items():
        for i in range(SIZE):
            ids = mask = image = image_mask = None
            if kind != 'text':
                image, image_mask = x['image'][i], x['image_mask'][i]
            if kind != 'image':
                length = TEXTS[kind][i]
                ids, mask = (
                    x[name][i : i + 1, :length]
                    for name in ('text_ids', 'text_mask')
                )
            output = model.backbone(
                None if image is None else image[None],
                ids,
                image_mask=None if image is None else image_mask[None],
            )
            prefix = 'pair_' * (kind == 'pair')
            if image is not None:
                logits = model.head.visual(output.vision)[0, 1:]
                plain[f'{prefix}image'][0].append(logits[image_mask])
                plain[f'{prefix}image'][1].append(
                    x['visual_ids'][i][image_mask]
                )
            if ids is not None:
                logits = model.head.lm(output.language)[0]
                plain[f'{prefix}text'][0].append(logits[mask[0]])
                plain[f'{prefix}text'][1].append(
                    x['target_ids'][i, :length][mask[0]]
                )
    losses, logits = model(inputs, mode='loss'), model(inputs)
    assert list(logits) == list(PARTS)
    for part, (rows, ids) in plain.items():
        rows, ids = torch.cat(rows), torch.cat(ids)
        torch.testing.assert_close(logits[part], rows)
        torch.testing.assert_close(
            losses[f'loss_{part}'], F.cross_entropy(rows, ids)
        )
        torch.testing.assert_close(
            losses[f'acc_{part}'], (rows.argmax(1) == ids).float().mean()
        )


@torch.no_grad()
def test_only_what_is_masked_meets_the_vocabularies(arch):
    model, inputs, shapes = build(arch), batch(), []
    for layer in (model.head.visual, model.head.lm):
        layer.register_forward_hook(
            lambda _, args, output: shapes.append(len(args[0]))
        )
    model(inputs, mode='loss')
    assert shapes == [int(masked(inputs, part)[0].sum()) for part in PARTS]


@torch.no_grad()
def test_what_is_masked_is_not_seen(arch):
    model, inputs = build(arch).eval(), batch()
    before = model(inputs)
    other = {kind: dict(x) for kind, x in inputs.items()}
    for kind in ('image', 'pair'):
        patches = inputs[kind]['image_mask'].view(SIZE, 1, GRID, GRID)
        pixels = patches.repeat_interleave(8, 2).repeat_interleave(8, 3)
        image = inputs[kind]['image']
        other[kind]['image'] = torch.where(pixels, -image, image)
    for part, logits in model(other).items():
        torch.testing.assert_close(logits, before[part])


@torch.no_grad()
def test_kinds_do_not_depend_on_each_other(arch):
    model = build(arch).eval()
    together = model(batch(), mode='loss')
    for kind in KINDS:
        alone = model(batch([kind]), mode='loss')
        names = [x for x in together if x.split('_')[1] == kind]
        assert list(alone) == names
        for name in names:
            torch.testing.assert_close(alone[name], together[name])


def touched(model, kinds):
    """Returns the parameters that a loss of these kinds depends on."""
    model.zero_grad()
    total(model(batch(kinds), mode='loss')).backward()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


def test_vision_language_experts_see_pairs_only(tiny_arch, paper_form):
    model = build(tiny_arch | paper_form)
    fused = 'layers.2.ffn.vision_language.'
    assert not [x for x in touched(model, ['image', 'text']) if fused in x]
    names = touched(model, ['pair'])
    assert [x for x in names if fused in x]
    for expert in ('vision', 'language'):
        assert not [x for x in names if f'layers.2.ffn.{expert}.' in x]
        assert [x for x in names if f'layers.1.ffn.{expert}.' in x]


def test_gradients_reach_every_parameter(arch):
    model = build(arch)
    names = touched(model, KINDS)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A bias of all keys changes no softmax.
        if not (name.endswith('bias') and 'k_proj' in name):
            assert name in names


@torch.no_grad()
def test_images_of_pairs_may_stay_whole(arch):
    model = build(arch, mask_pair_images=False).eval()
    inputs = batch()
    logits, losses = model(inputs), model(inputs, mode='loss')
    assert list(logits) == ['image', 'text', 'pair_text']
    assert 'loss_pair_image' not in losses
    pair = inputs['pair']
    output = model.backbone(
        pair['image'], pair['text_ids'], pair['text_padding_mask']
    )
    expected = model.head.lm(output.language[pair['text_mask']])
    torch.testing.assert_close(logits['pair_text'], expected)
    for name in ('image_mask', 'visual_ids'):  # which nothing reads
        del pair[name]
    assert model(inputs, mode='loss') == losses


def test_a_visual_tokenizer_gives_the_targets(arch):
    model = build(arch, visual_tokenizer=STUB).eval()
    inputs = batch(views=True)
    tokenizer = model.visual_tokenizer
    with_ids = {kind: dict(x) for kind, x in inputs.items()}
    losses = model(inputs, mode='loss')
    for kind in ('image', 'pair'):
        x = with_ids[kind]
        x['visual_ids'] = tokenizer.encode_ids(x.pop('tokenizer_image'))
        assert len(x['visual_ids'].unique()) > 1
    for name, value in model(with_ids, mode='loss').items():
        assert torch.equal(value, losses[name])


def test_the_visual_tokenizer_is_frozen_and_not_saved(arch):
    model = build(arch, visual_tokenizer=STUB)
    without = build(arch)
    assert set(model.state_dict()) == set(without.state_dict())
    assert len([*model.parameters()]) == len([*without.parameters()])
    tokenizer = model.visual_tokenizer
    assert tokenizer.scale == 0
    model.init_weights()
    assert tokenizer.scale == NUM_CODES
    model.train()
    losses = model(batch(views=True), mode='loss')
    total(losses).backward()
    assert not tokenizer.dropout.training
    assert not tokenizer.scale.requires_grad
    assert tokenizer.scale.grad is None
    assert model.to('meta').visual_tokenizer.scale.device.type == 'meta'


def test_the_visual_tokenizer_is_loaded_at_first_use(arch):
    model = build(arch, visual_tokenizer=STUB)
    inputs = batch(['image'], views=True)['image']
    assert model.visual_ids('image', inputs).any()
    assert model.visual_tokenizer.scale == NUM_CODES


@torch.no_grad()
def test_predictions_lie_where_something_was_masked(arch):
    model, inputs = build(arch).eval(), batch()
    samples = {
        kind: [BaseDataElement(metainfo=dict(kind=kind)) for _ in range(SIZE)]
        for kind in KINDS
    }
    logits = model(inputs)
    result = model(inputs, samples, mode='predict')
    assert [x.kind for x in result] == [k for k in KINDS for _ in range(SIZE)]
    for part in PARTS:
        kind, _, key = part.rpartition('_')
        field = dict(image='pred_visual_ids', text='pred_text_ids')[key]
        rows = torch.stack([x.get(field) for x in samples[kind or key]])
        mask = masked(inputs, part)[0]
        assert torch.equal(rows[mask], logits[part].argmax(1))
        assert (rows[~mask] == -1).all()
    assert 'pred_text_ids' not in samples['image'][0]
    assert 'pred_visual_ids' not in samples['text'][0]


def test_bfloat16(arch):
    model, inputs = build(arch), batch()
    expected = model(inputs, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(inputs, mode='loss')
    total(losses).backward()
    torch.testing.assert_close(
        total(losses), total(expected), rtol=0.02, atol=0
    )


@pytest.mark.parametrize('kept', ['with_cp', 'with_ffn_cp'])
def test_recomputing_changes_nothing(arch, kept):
    results = []
    for recomputed in (False, True):
        model = build({**arch, kept: recomputed, 'drop_path_rate': 0.2})
        torch.manual_seed(0)
        total(model(batch(), mode='loss')).backward()
        results.append([x.grad for x in model.parameters()])
    torch.testing.assert_close(*results)


def rows(inputs, where):
    return {
        kind: {name: x[where] for name, x in values.items()}
        for kind, values in inputs.items()
    }


def gradients_of_a_process(arch):
    """Returns the gradients of the second step under DDP."""
    model = build(arch)
    wrapped = DistributedDataParallel(model)
    own = slice(0, 2) if dist.get_rank() == 0 else slice(2, 3)
    for _ in range(2):  # the second one fails for unused parameters
        model.zero_grad()
        losses = wrapped(rows(batch(), own), mode='loss')
        total(losses).backward()
    return total(losses).detach(), {
        name: x.grad for name, x in model.named_parameters()
    }


def test_two_processes_train_as_one(tiny_arch, paper_form, tmp_path):
    arch = tiny_arch | paper_form
    model = build(arch)
    loss = total(model(batch(), mode='loss'))
    loss.backward()
    expected = {name: x.grad for name, x in model.named_parameters()}
    for value, gradients in run_in_two_processes(
        gradients_of_a_process, tmp_path, arch
    ):
        torch.testing.assert_close(value, loss.detach())
        torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('kind', 'name', 'mode'),
    [
        ('image', 'image', 'tensor'),
        ('image', 'image_mask', 'tensor'),
        ('text', 'text_ids', 'tensor'),
        ('text', 'text_mask', 'tensor'),
        ('text', 'target_ids', 'loss'),
        ('pair', 'image_mask', 'tensor'),
        ('pair', 'target_ids', 'loss'),
    ],
)
def test_inputs_that_are_missing(tiny_arch, kind, name, mode):
    inputs = batch()
    inputs[kind][name] = None
    hint = '.*mask_pair_images=False' * (name == 'image_mask')
    hint = hint if kind == 'pair' else ''
    with pytest.raises(
        ValueError, match=rf"{kind} need \['{name}'\] .*{hint}"
    ):
        build(tiny_arch)(inputs, mode=mode)


def test_errors(tiny_arch):
    model, inputs = build(tiny_arch), batch()
    with pytest.raises(ValueError, match="mode='train' must be"):
        model(inputs, mode='train')
    with pytest.raises(ValueError, match="mode='predict' needs data_samples"):
        model(inputs, mode='predict')
    with pytest.raises(ValueError, match=r"inputs of \['image', .* some of"):
        model(inputs['pair'])
    with pytest.raises(ValueError, match=r'inputs of \[\] must be'):
        model({})
    with pytest.raises(ValueError, match=r'no visual_ids, and the model no'):
        model(batch(views=True), mode='loss')
    with pytest.raises(ValueError, match='StubTokenizer has no init_cfg'):
        build(tiny_arch, visual_tokenizer=dict(STUB, init_cfg=None))
    config = masked_modeling.config(tiny_arch)
    config['head']['vocab_size'] = 41
    with pytest.raises(ValueError, match='vocab_size=40, the head vocab_size'):
        MODELS.build(config)
    model = build(tiny_arch, visual_tokenizer=STUB)
    views = batch(['image'], views=True)
    views['image']['tokenizer_image'] = torch.rand(SIZE, 3, VIEW, VIEW - 16)
    with pytest.raises(ValueError, match=r'\(3, 12\) do not fit \(3, 16\)'):
        model(views, mode='loss')
