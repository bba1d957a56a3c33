# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch


def test_losses_and_gradients(build_segmentor, make_batch):
    model = build_segmentor().train()
    for name, parameter in model.named_parameters():
        # start at zero, and then stop all gradients to the queries
        if 'sampling_offsets' in name or 'attention_weights' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    data = model.data_preprocessor(make_batch((64, 64), (50, 40)), True)
    losses = model(**data, mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    assert total.isfinite()
    total.backward()
    for name, parameter in model.named_parameters():
        # a bias of all keys changes no softmax
        if not name.endswith('k_proj.vision.bias'):
            assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_scores_are_class_times_mask(build_segmentor, make_batch):
    model = build_segmentor()
    (sample,) = model.test_step(make_batch((64, 64)))
    scores = sample.seg_logits.data
    assert scores.shape == (13, 64, 64)
    assert scores.min() >= 0
    assert torch.equal(sample.pred_sem_seg.data[0], scores.argmax(0))


@pytest.mark.parametrize('size', [(64, 64), (50, 40)])
@torch.no_grad()
def test_one_window_is_the_whole_image(build_segmentor, make_batch, size):
    whole, slide = build_segmentor(), build_segmentor('slide')
    slide.load_state_dict(whole.state_dict())
    (expected,) = whole.test_step(make_batch(size))
    (sample,) = slide.test_step(make_batch(size))
    assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)


@pytest.mark.parametrize('size', [(100, 150), (50, 130)])
@torch.no_grad()
def test_windows_of_a_padded_image(build_segmentor, make_batch, size):
    """The windows are put together as one computes them by hand."""
    model = build_segmentor('slide')
    (sample,) = model.test_step(make_batch(size))
    data = model.data_preprocessor(make_batch(size), False)
    image = data['inputs']
    height, width = image.shape[-2:]
    total, count = torch.zeros(13, height, width), torch.zeros(height, width)
    whole = build_segmentor()
    whole.load_state_dict(model.state_dict())
    for y in {min(i, height - 64) for i in range(0, height - 16, 48)}:
        for x in {min(i, width - 64) for i in range(0, width - 16, 48)}:
            window = image[..., y : y + 64, x : x + 64]
            meta = dict(img_shape=(64, 64), ori_shape=(64, 64))
            scores = whole.encode_decode(window, [meta])[0]
            total[:, y : y + 64, x : x + 64] += scores
            count[y : y + 64, x : x + 64] += 1
    expected = (total / count)[:, : size[0], : size[1]]
    torch.testing.assert_close(sample.seg_logits.data, expected)


def test_mmsegs_own_head_does_not_put_windows_together(
    build_segmentor, make_batch
):
    model = build_segmentor('slide', head='mmseg.Mask2FormerHead')
    with torch.no_grad(), pytest.raises(RuntimeError, match='size of tensor'):
        model.test_step(make_batch((50, 130)))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_classes=5), r'14 values, but num_classes=5 needs 6'),
        (dict(num_classes=1), r'num_classes=1 must be 2 or more'),
    ],
)
def test_wrong_numbers_of_classes(build_segmentor, changes, message):
    with pytest.raises(ValueError, match=message):
        build_segmentor(**changes)


def test_other_channels_than_the_backbones(build_segmentor, make_batch):
    model = build_segmentor(in_channels=[32, 32, 32, 48])
    message = r'in_channels=\[32, 32, 32, 48\], but .* \[32, 32, 32, 32\]'
    with torch.no_grad(), pytest.raises(ValueError, match=message):
        model.test_step(make_batch((64, 64)))
