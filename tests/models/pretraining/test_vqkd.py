# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import visual_tokenizers
from mmengine.registry import MODELS

from beit3_mm.checkpoint import CheckpointError
from beit3_mm.engine.loading import load_weights

EXACT = dict(rtol=0, atol=1e-5)
CODEBOOK = {
    'quantizer.codes': 'quantize.embedding.weight',
    'quantizer.cluster_size': 'quantize.cluster_size',
    'quantizer.started': 'quantize.embedding.initted',
}


@pytest.fixture
def tensors(golden):
    return golden('vqkd')[1]


@pytest.fixture
def path(tensors, tmp_path):
    return visual_tokenizers.save(tmp_path / 'vqkd.pth', tensors)


@pytest.fixture
def model(path):
    model = visual_tokenizers.build(
        init_cfg=visual_tokenizers.pretrained(path)
    )
    model.init_weights()
    return model.eval()


@torch.no_grad()
def test_it_agrees_with_the_official_one(model, tensors):
    codes = model(tensors['image'])
    assert torch.equal(codes.ids.flatten(1), tensors['out/tokens'])
    assert torch.equal(
        model.encode_ids(tensors['image']), tensors['out/tokens']
    )
    torch.testing.assert_close(
        codes.features.permute(0, 3, 1, 2), tensors['out/quantized'], **EXACT
    )
    torch.testing.assert_close(
        codes.loss, tensors['out/commitment_loss'], **EXACT
    )
    torch.testing.assert_close(
        model.decode(codes.features), tensors['out/reconstruction'], **EXACT
    )


def test_the_codebook_after_a_training_pass(model, tensors):
    model.train()
    vectors = model.vectors(tensors['image'])
    model.quantizer.start(vectors)
    codes = model.quantizer(vectors)
    model.quantizer.learn(vectors, codes.ids)
    for ours, official in CODEBOOK.items():
        torch.testing.assert_close(
            model.state_dict()[ours],
            tensors[f'out/after_one_training_step/{official}'],
            **EXACT,
        )
    # What the official code keeps and never reads, and ours has not
    for name in ('cluster_size', 'embed_avg', 'initted'):
        name = f'quantize.embedding.{name}'
        before = tensors[f'weights/{name}']
        after = tensors[f'out/after_one_training_step/{name}']
        assert torch.equal(before, after)


def test_to_find_ids_changes_nothing(model, tensors):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    ids = model.encode_ids(tensors['image'])
    assert torch.equal(ids, tensors['out/tokens'])
    assert not ids.requires_grad
    model(tensors['image'])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_gradients_go_straight_through(model, tensors):
    vectors = model.vectors(tensors['image']).detach().requires_grad_()
    weights = torch.randn(vectors.shape)
    (model.quantizer(vectors).features * weights).sum().backward()
    copy = vectors.detach().requires_grad_()
    (torch.nn.functional.normalize(copy, dim=-1) * weights).sum().backward()
    torch.testing.assert_close(vectors.grad, copy.grad)
    assert not model.quantizer.codes.requires_grad


def test_reduced_precision_finds_nearly_the_same_ids(model, tensors):
    with torch.autocast('cpu', torch.bfloat16):
        ids = model.encode_ids(tensors['image'])
        assert model.vectors(tensors['image']).dtype == torch.float32
    assert (ids == tensors['out/tokens']).float().mean() >= 0.9


@torch.no_grad()
def test_images_of_other_sizes(model, path, tensors):
    image = torch.nn.functional.interpolate(
        tensors['image'], (48, 40), mode='bilinear'
    )
    codes = model(image)
    assert codes.ids.shape == (3, 6, 5)
    assert model.encode_ids(image).shape == (3, 30)
    assert model.decode(codes.features).shape == (3, 30, 20)
    with pytest.raises(ValueError, match='30 x 32 pixels do not divide'):
        model.encode_ids(image[..., :30, :32])
    # Positions are resized when they are loaded as they are on the fly.
    wider = visual_tokenizers.build(
        img_size=48, init_cfg=visual_tokenizers.pretrained(path)
    ).eval()
    wider.init_weights()
    image = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(
        wider(image).features, model(image).features, **EXACT
    )
    assert wider.encoder.positions.shape == (1, 37, 32)


def test_ids_need_no_decoder(path, tensors):
    model = visual_tokenizers.build(
        num_decoder_layers=0, init_cfg=visual_tokenizers.pretrained(path)
    )
    model.init_weights()
    ids = model.encode_ids(tensors['image'])
    assert torch.equal(ids, tensors['out/tokens'])
    assert not any('decoder' in name for name in model.state_dict())
    with pytest.raises(ValueError, match='set num_decoder_layers'):
        model.decode(torch.zeros(1, 4, 4, 8))


def test_official_weights_of_a_training(tensors, tmp_path):
    """Their files may hold the teacher, ours are of the training's model."""
    weights = visual_tokenizers.official(tensors)
    weights['teacher_model.visual.proj'] = torch.zeros(2, 2)
    weights = {f'module.{k}': v for k, v in weights.items()}
    training = MODELS.build(
        dict(
            type='beit3_mm.VQKDTraining',
            tokenizer=visual_tokenizers.config(),
            teacher=dict(type='beit3_mm.HandcraftedTeacher'),
        )
    )
    report = load_weights(training, {'model': weights}, 'official.pth')
    assert report.complete
    assert sorted(report.unexpected) == [
        'module.quantize.embedding.cluster_size',
        'module.quantize.embedding.embed_avg',
        'module.teacher_model.visual.proj',
    ]
    path = tmp_path / 'ours.pth'
    torch.save({'state_dict': training.state_dict(), 'meta': {}}, path)
    model = visual_tokenizers.build(
        init_cfg=visual_tokenizers.pretrained(path)
    )
    model.init_weights()
    ids = model.encode_ids(tensors['image'])
    assert torch.equal(ids, tensors['out/tokens'])


def test_files_that_do_not_fit(path, tensors, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint file no\.pth'):
        visual_tokenizers.build(
            init_cfg=visual_tokenizers.pretrained('no.pth')
        ).init_weights()
    with pytest.raises(ValueError, match='must be dict'):
        visual_tokenizers.build(init_cfg=dict(type='Xavier')).init_weights()
    other = visual_tokenizers.build(
        num_codes=30, init_cfg=visual_tokenizers.pretrained(path)
    )
    with pytest.raises(
        CheckpointError, match=r'(?s)quantizer.codes: \(24, 8\) in the check'
    ):
        other.init_weights()
    deeper = visual_tokenizers.build(
        num_layers=3, init_cfg=visual_tokenizers.pretrained(path)
    )
    with pytest.raises(CheckpointError, match=r'encoder\.layers\.2\.attent'):
        deeper.init_weights()
    wrong = tmp_path / 'wrong.pth'
    torch.save({'a.weight': torch.zeros(2, 2)}, wrong)
    with pytest.raises(CheckpointError, match=r'nothing in .*wrong\.pth fits'):
        visual_tokenizers.build(
            init_cfg=visual_tokenizers.pretrained(wrong)
        ).init_weights()


def test_a_codebook_that_is_not_finite_is_refused(model, tmp_path):
    model.quantizer.codes[3, 2] = float('nan')
    file = tmp_path / 'diverged.pth'
    torch.save({'state_dict': model.state_dict()}, file)
    other = visual_tokenizers.build(
        init_cfg=visual_tokenizers.pretrained(file)
    )
    with pytest.raises(CheckpointError, match=r'diverged\.pth .*not finite'):
        other.init_weights()


def test_an_empty_codebook_is_refused():
    with pytest.raises(ValueError, match='the codebook is empty'):
        visual_tokenizers.build().encode_ids(torch.rand(1, 3, 32, 32))


def test_it_makes_the_targets_of_masked_data_modeling(path, tensors):
    import masked_modeling

    arch = dict(visual_tokenizers.ARCH, patch_size=8)
    student = masked_modeling.config(
        arch,
        visual_tokenizer=visual_tokenizers.config(
            num_decoder_layers=0, init_cfg=visual_tokenizers.pretrained(path)
        ),
    )
    student['head']['num_visual_codes'] = 24
    model = MODELS.build(student)
    model.init_weights()
    image = tensors['image']
    batch = dict(
        image=image,
        tokenizer_image=image,
        image_mask=torch.arange(16).expand(3, 16) % 3 == 0,
    )
    targets = model.target_ids(dict(image=batch))['image']
    expected = tensors['out/tokens'][batch['image_mask']]
    assert torch.equal(targets, expected)
    losses = model(dict(image=batch), mode='loss')
    losses['loss_image'].backward()
    assert model.visual_tokenizer.encoder.proj.weight.grad is None
