# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.distributed as dist
import visual_tokenizers
from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.structures import BaseDataElement
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_in_two_processes

from beit3_mm.models.pretraining import vqkd_training
from beit3_mm.registry import MODELS

TEACHER_DIMS = 20
SHAPES = dict(tokens='(B, N, T)', with_cls='(B, 1 + N, T)', map='(B, T, h, w)')


@MODELS.register_module(force=True)
class StubTeacher(BaseModule):
    """Projects patches of 8 pixels; gives any of the known outputs."""

    def __init__(self, output='tokens', patch_size=8, init_cfg=None):
        super().__init__(init_cfg)
        generator = torch.Generator().manual_seed(1)
        shape = TEACHER_DIMS, 3, patch_size, patch_size
        self.weight = nn.Parameter(torch.randn(shape, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self.stride, self.output, self.calls = patch_size, output, 0

    def init_weights(self):
        self.calls += 1

    def forward(self, image):
        self.last = image
        maps = nn.functional.conv2d(image, self.weight, stride=self.stride)
        maps = self.dropout(maps)
        tokens = maps.flatten(2).transpose(1, 2)
        if self.output == 'with_cls':
            return (torch.cat([0 * tokens[:, :1], tokens], 1), 'attention')
        return (maps,) if self.output == 'map' else tokens


def build(teacher=None, tokenizer=None, **options):
    torch.manual_seed(0)
    return ROOT_MODELS.build(
        dict(
            type='beit3_mm.VQKDTraining',
            tokenizer=visual_tokenizers.config(**(tokenizer or {})),
            teacher=dict(type='beit3_mm.StubTeacher') | (teacher or {}),
            data_preprocessor=dict(
                type='beit3_mm.MultimodalDataPreprocessor',
                mean=[0, 0, 0],
                std=[255, 255, 255],
            ),
            **options,
        )
    )


def images(number=6):
    generator = torch.Generator().manual_seed(4)
    return torch.rand(number, 3, 32, 32, generator=generator)


def test_every_parameter_is_trained():
    model = build()
    losses = model(dict(image=images()), mode='loss')
    assert set(losses) == {
        *('loss_teacher', 'loss_commitment'),
        *('codebook_usage', 'codebook_perplexity', 'codes_revived'),
    }
    (losses['loss_teacher'] + losses['loss_commitment']).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert 0 < losses['codebook_usage'] <= 1
    assert 0 < losses['loss_teacher'] < 2


def test_it_learns():
    model = build(tokenizer=dict(quantizer=dict(revive_after=10)))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    history = []
    for _ in range(60):
        losses = model(dict(image=images()), mode='loss')
        total, logged = model.parse_losses(losses)
        assert total == losses['loss_teacher'] + losses['loss_commitment']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(logged['loss_teacher'].item())
    assert history[-1] < 0.6 * history[0]
    assert losses['codebook_usage'] > 0.5


def test_the_loss_is_the_cosine_distance():
    model = build()
    image = images()
    target = model.teacher_tokens(image, (6, 16, TEACHER_DIMS))
    losses = model(dict(image=image), mode='loss')
    model.tokenizer.quantizer.load_state_dict(
        dict(build_started(image).tokenizer.quantizer.state_dict())
    )
    codes = model.tokenizer(image)
    decoded = model.tokenizer.decode(codes.features)
    for x in (decoded, target):
        x /= x.norm(dim=-1, keepdim=True)
    expected = (1 - (decoded * target).sum(-1)).mean()
    torch.testing.assert_close(losses['loss_teacher'], expected)
    torch.testing.assert_close(losses['loss_commitment'], codes.loss)


def build_started(image):
    """Returns the same model before it has learnt from its first batch."""
    model = build()
    model.teacher_tokens(image, (6, 16, TEACHER_DIMS))
    model.tokenizer.quantizer.start(model.tokenizer.vectors(image))
    return model


def test_a_training_pass_is_the_official_one(golden, tmp_path):
    _, tensors = golden('vqkd')
    path = visual_tokenizers.save(tmp_path / 'vqkd.pth', tensors)
    model = build(tokenizer=dict(init_cfg=visual_tokenizers.pretrained(path)))
    model.init_weights()
    losses = model(dict(image=tensors['image']), mode='loss')
    exact = dict(rtol=0, atol=1e-5)
    torch.testing.assert_close(
        losses['loss_commitment'], tensors['out/commitment_loss'], **exact
    )
    after = tensors['out/after_one_training_step/quantize.embedding.weight']
    torch.testing.assert_close(model.tokenizer.quantizer.codes, after, **exact)


def test_the_teacher_is_frozen_and_no_part_of_the_model():
    model = build().train()
    assert not model._frozen  # built when it is needed
    model.init_weights()
    teacher = model.load_teacher()
    assert (teacher.calls, teacher.training) == (1, False)
    before = teacher.weight.clone()
    names = {name for name, _ in model.named_modules()}
    assert teacher not in set(model.modules())
    assert not any('teacher' in name and 'to_' not in name for name in names)
    assert not any(x == 'weight' for x in model.state_dict())
    losses = model.train()(dict(image=images()), mode='loss')
    losses['loss_teacher'].backward()
    assert teacher.weight.grad is None
    assert not teacher.training
    assert torch.equal(teacher.weight, before)
    model.double()
    assert teacher.weight.dtype == torch.float64  # moves along


def test_a_teacher_that_may_be_noise_is_named(monkeypatch):
    said = []
    monkeypatch.setattr(
        vqkd_training, 'print_log', lambda text, **_: said.append(text)
    )
    build(teacher=dict(init_cfg=dict(type='Pretrained'))).load_teacher()
    build(teacher=dict(type='beit3_mm.HandcraftedTeacher')).load_teacher()
    assert not said
    for teacher in ({}, dict(init_cfg=None)):
        build(teacher=teacher).load_teacher()
        assert 'teacher (beit3_mm.StubTeacher) has no init_cfg' in said.pop()


def test_a_test_needs_no_teacher():
    model = build(teacher=dict(type='beit3_mm.NoSuchTeacher'))
    model.tokenizer.quantizer.start(torch.randn(50, 8))
    samples = [BaseDataElement() for _ in range(6)]
    predicted = model(dict(image=images()), samples, mode='predict')
    ids = model(dict(image=images()))
    assert ids.shape == (6, 16)
    for sample, row in zip(predicted, ids):
        assert torch.equal(sample.pred_visual_ids, row)
    assert not model._frozen


@pytest.mark.parametrize('output', SHAPES)
def test_outputs_of_teachers(output):
    expected = build().eval().teacher_tokens(images(), (6, 16, TEACHER_DIMS))
    model = build(teacher=dict(output=output))
    tokens = model.teacher_tokens(images(), (6, 16, TEACHER_DIMS))
    torch.testing.assert_close(tokens, expected)


def test_the_teacher_gets_the_view_that_it_needs():
    model = build(
        teacher=dict(patch_size=12),
        teacher_size=48,
        teacher_mean=[127.5, 0, 0],
        teacher_std=[127.5, 255, 51],
    )
    image = torch.full((1, 3, 32, 32), 0.2)
    model.teacher_tokens(image, (1, 16, TEACHER_DIMS))
    seen = model.load_teacher().last
    assert seen.shape == (1, 3, 48, 48)
    for channel, value in enumerate((-0.6, 0.2, 1.0)):
        torch.testing.assert_close(
            seen[0, channel], torch.full((48, 48), value)
        )


def test_backbones_of_mmpretrain_teach():
    model = build(
        teacher=dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(
                embed_dims=TEACHER_DIMS,
                num_layers=1,
                num_heads=2,
                feedforward_channels=8,
            ),
            img_size=32,
            patch_size=8,
            out_type='featmap',
        )
    )
    losses = model(dict(image=images()), mode='loss')
    assert losses['loss_teacher'].isfinite()


def test_clip_of_mmpretrain_teaches(tmp_path):
    from mmpretrain.models.utils.clip_generator_helper import CLIP

    clip = CLIP(TEACHER_DIMS, 32, 1, 64, 8, 5, 7, 64, 1, 1)
    path = tmp_path / 'clip.pth'
    torch.save(clip.state_dict(), path)
    model = build(
        teacher=dict(type='mmpretrain.CLIPGenerator', tokenizer_path=str(path))
    )
    tokens = model.teacher_tokens(images(), (6, 16, TEACHER_DIMS))
    expected = clip.eval().visual(images())[0][:, 1:]
    torch.testing.assert_close(tokens, expected)
    assert model(dict(image=images()), mode='loss')['loss_teacher'].isfinite()


def test_wrong_input():
    with pytest.raises(ValueError, match='num_decoder_layers=0 cannot be'):
        build(tokenizer=dict(num_decoder_layers=0))
    model = build(teacher=dict(patch_size=16))
    with pytest.raises(
        ValueError, match=r'\(6, 4, 20\) of the teacher beit3_mm\.StubTeacher'
    ):
        model(dict(image=images()), mode='loss')
    with pytest.raises(ValueError, match=r'-0\.5 to .* must be in \[0, 1\]'):
        build()(dict(image=images() - 0.5), mode='loss')
    with pytest.raises(ValueError, match="mode='other' must be"):
        build()(dict(image=images()), mode='other')
    with pytest.raises(ValueError, match='needs data_samples'):
        build()(dict(image=images()), mode='predict')


def test_it_trains_in_bfloat16():
    model = build()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(dict(image=images()), mode='loss')
    losses['loss_teacher'].backward()
    assert losses['loss_teacher'].dtype == torch.float32
    assert model.tokenizer.encoder.proj.weight.grad.isfinite().all()


def gradients(wrapped, model, rows):
    for _ in range(2):  # the second one fails for unused parameters
        model.zero_grad()
        losses = wrapped(dict(image=images()[rows]), mode='loss')
        total, _ = model.parse_losses(losses)
        total.backward()
    return {name: x.grad.clone() for name, x in model.named_parameters()}


def loaded(path):
    model = build(tokenizer=dict(init_cfg=visual_tokenizers.pretrained(path)))
    model.init_weights()
    return model


def train(path):
    model = loaded(path)
    own = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
    found = gradients(DistributedDataParallel(model), model, own)
    return found, model.tokenizer.quantizer.state_dict()


def test_two_processes_train_as_one(golden, tmp_path):
    path = visual_tokenizers.save(tmp_path / 'vqkd.pth', golden('vqkd')[1])
    both = run_in_two_processes(train, tmp_path, path)
    model = loaded(path)
    expected = gradients(model, model, slice(6))
    for found, codebook in both:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(
            codebook, model.tokenizer.quantizer.state_dict()
        )
