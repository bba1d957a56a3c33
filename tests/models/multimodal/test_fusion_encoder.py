# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.structures import BaseDataElement

from beit3_mm.engine.loading import load_weights
from beit3_mm.models.multimodal import FusionEncoder

ANSWERS = 7
HEADS = {
    'vqa': dict(type='beit3_mm.VQAHead', num_answers=ANSWERS),
    'nlvr2': dict(type='beit3_mm.NLVR2Head'),
}
# official: ours
HEAD_NAMES = {
    'vqa': {'pooler.': 'head.pooler.', 'head.': 'head.classifier.'},
    'nlvr2': {'head.': 'head.'},
}


@pytest.fixture
def build(tiny_arch, paper_form):
    def build(task, form='released', **options):
        torch.manual_seed(0)
        backbone = dict(
            tiny_arch,
            vocab_size=60,
            max_text_positions=32,
            final_norm=task == 'nlvr2',
            **(paper_form if form == 'paper' else {}),
            **options,
        )
        head = dict(HEADS[task], embed_dims=tiny_arch['embed_dims'])
        model = FusionEncoder(backbone, head)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        return model

    return build


def make_inputs(task, batch=3):
    generator = torch.Generator().manual_seed(1)
    images = (2,) if task == 'nlvr2' else ()
    padding = torch.zeros(batch, 6, dtype=torch.bool)
    padding[0, 4:] = True
    return dict(
        image=torch.randn(batch, *images, 3, 32, 32, generator=generator),
        text_ids=torch.randint(3, 60, (batch, 6), generator=generator),
        text_padding_mask=padding,
    )


def samples(task, batch=3):
    if task == 'nlvr2':
        fields = [dict(gt_label=torch.tensor(i % 2)) for i in range(batch)]
    else:
        fields = [
            dict(gt_labels=torch.tensor([1, 4]), gt_scores=torch.ones(2) / 2)
        ] * batch
    return [BaseDataElement(**field) for field in fields]


every_model = pytest.mark.parametrize(
    'task, form',
    [(task, form) for task in HEADS for form in ('released', 'paper')],
)


@pytest.mark.parametrize('task', HEADS)
@torch.no_grad()
def test_agreement_with_the_official_models(golden, task):
    config, tensors = golden(f'beit3_tiny_{task}')
    sizes = {
        key: value
        for key, value in config.items()
        if key not in ('kind', 'num_answers', 'eos_bias')
    }
    head = dict(HEADS[task], embed_dims=config['embed_dims'])
    if task == 'vqa':
        head['num_answers'] = config['num_answers']
    model = FusionEncoder(dict(sizes, final_norm=task == 'nlvr2'), head).eval()
    weights = {
        name.removeprefix('weights/'): tensor
        for name, tensor in tensors.items()
        if name.startswith('weights/')
    }
    report = load_weights(model, weights, 'golden')
    assert report.complete
    assert not report.unexpected
    image = tensors['image']
    if task == 'nlvr2':
        image = torch.stack([image, tensors['image2']], dim=1)
    texts = {k: tensors[k] for k in ('text_ids', 'text_padding_mask')}
    torch.testing.assert_close(
        model(dict(image=image, **texts)),
        tensors['out/logits'],
        rtol=0,
        atol=1e-6,
    )


@every_model
@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_reach_every_parameter(build, task, form, with_cp):
    model = build(task, form, with_cp=with_cp).train()
    model(make_inputs(task), samples(task), mode='loss')['loss'].backward()
    frozen, zero = set(), set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            frozen.add(name)
        else:  # DDP waits for each
            assert parameter.grad is not None, name
            if not parameter.grad.any():
                zero.add(name)

    names = {name for name, _ in model.named_parameters()}
    last = 'backbone.encoder.layers.2.'
    unused = ('ffn.vision.', 'ffn.language.') if form == 'paper' else ()
    assert frozen == {'backbone.vision_embedding.mask_token'} | {
        name for name in names for x in unused if name.startswith(last + x)
    }
    # VQA looks at the CLS token alone: of the last layer's language experts
    # it needs what makes keys and values. The paper's top layer has none.
    alone = ()
    if (task, form) == ('vqa', 'released'):
        alone = (
            *('attention.q_proj.language.', 'attention.sub_norm.language.'),
            *('attention.out_proj.language.', 'ffn.language.'),
        )
    expected = {
        name for name in names for x in alone if name.startswith(last + x)
    }
    assert len(expected) == (14 if alone else 0)
    # A bias that all keys share shifts a softmax's logits alike: its gradient
    # is 0 but for rounding.
    shared = {name for name in names if name.endswith('k_proj.shared.bias')}
    assert zero - shared == expected


@every_model
@torch.no_grad()
def test_padding_changes_nothing(build, task, form):
    model, inputs = build(task, form).eval(), make_inputs(task)
    pad = torch.nn.functional.pad
    longer = dict(
        inputs,
        text_ids=pad(inputs['text_ids'], (0, 5), value=1),
        text_padding_mask=pad(inputs['text_padding_mask'], (0, 5), value=True),
    )
    torch.testing.assert_close(model(longer), model(inputs))
    short = {key: value[1:] for key, value in inputs.items()}
    logits = model(dict(short, text_padding_mask=None))
    torch.testing.assert_close(logits, model(inputs)[1:])
    short.pop('text_padding_mask')
    assert torch.equal(model(short), logits)


@every_model
@torch.no_grad()
def test_a_batch_of_three_equals_three_batches_of_one(build, task, form):
    model, inputs = build(task, form).eval(), make_inputs(task)
    alone = [
        model({key: value[i : i + 1] for key, value in inputs.items()})
        for i in range(3)
    ]
    torch.testing.assert_close(torch.cat(alone), model(inputs))


@pytest.mark.parametrize('form', ['released', 'paper'])
@torch.no_grad()
def test_each_image_of_a_pair_is_fused_in_a_pass_of_its_own(build, form):
    model, pairs = build('nlvr2', form).eval(), make_inputs('nlvr2')
    fused = model.extract_feat(pairs)
    assert fused.vision.shape == (3, 2, 17, 24)
    assert fused.language.shape == (3, 2, 6, 24)
    first = model.extract_feat(pairs, first_tokens=True)
    for i in range(2):
        alone = model.extract_feat(dict(pairs, image=pairs['image'][:, i]))
        for name in ('vision', 'language'):
            one = getattr(alone, name)
            torch.testing.assert_close(getattr(fused, name)[:, i], one)
            torch.testing.assert_close(getattr(first, name)[:, i], one[:, :1])
    swapped = model(dict(pairs, image=pairs['image'].flip(1)))
    assert (swapped - model(pairs)).abs().max() > 1e-3


@every_model
@torch.no_grad()
def test_predictions_are_those_of_the_head(build, task, form):
    model, inputs = build(task, form).eval(), make_inputs(task)
    given = samples(task)
    predicted = model(inputs, given, mode='predict')
    for sample, mine, row in zip(predicted, given, model(inputs), strict=True):
        assert sample is mine
        assert sample.pred_scores.shape == row.shape
        assert sample.pred_label == row.argmax() == sample.pred_scores.argmax()


def test_the_initialisation_is_kept():
    init_cfg = dict(type='Constant', layer='LayerNorm', val=0.5)
    arch = dict(img_size=32, patch_size=8, embed_dims=24, num_layers=1)
    arch |= dict(num_heads=3, feedforward_channels=48, vocab_size=9)
    head = dict(HEADS['vqa'], embed_dims=24)
    model = FusionEncoder(arch, head, init_cfg=init_cfg)
    assert model.init_cfg == init_cfg
    assert torch.equal(model.head.pooler.norm.weight, torch.ones(24))
    model.init_weights()
    assert torch.equal(model.head.pooler.norm.weight, torch.ones(24) / 2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(text_ids=None), r"needs \['text_ids'\] as well"),
        (dict(image=None), r"needs \['image'\] as well"),
        (
            dict(text_ids=torch.ones(2, 6).long()),
            '3 samples of images do not fit 2 texts',
        ),
        (
            dict(image=torch.zeros(3, 32, 32)),
            r'\(3, 32, 32\) must be \(B, 3, H, W\)',
        ),
        (
            dict(image=torch.zeros(3, 2, 3, 32, 32)),
            'one image per question',
        ),
    ],
)
def test_inputs_that_do_not_fit(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build('vqa')(make_inputs('vqa') | changes)


def test_modes_and_samples(build):
    model, inputs = build('vqa'), make_inputs('vqa')
    with pytest.raises(ValueError, match="mode='predicts' must be"):
        model(inputs, mode='predicts')
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match=f"mode='{mode}' needs data_sam"):
            model(inputs, mode=mode)
    with pytest.raises(ValueError, match='two images per text'):
        build('nlvr2')(inputs)
