# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch

from beit3_mm.models.segmentation import SemanticTTAModel


def views(*batches):
    """Joins the batches of several views as `TestTimeAug` does."""
    return {
        key: [batch[key] for batch in batches]
        for key in ('inputs', 'data_samples')
    }


def test_one_view_is_the_plain_result(build_segmentor, make_batch):
    model = build_segmentor('slide')
    with torch.no_grad():
        (plain,) = model.test_step(make_batch((50, 80)))
    (sample,) = SemanticTTAModel(model).test_step(views(make_batch((50, 80))))
    assert torch.equal(sample.seg_logits.data, plain.seg_logits.data)
    assert torch.equal(sample.pred_sem_seg.data, plain.pred_sem_seg.data)


def test_two_equal_views_are_the_plain_result(build_segmentor, make_batch):
    model = build_segmentor()
    sizes = ((64, 64), (64, 64))  # two images
    with torch.no_grad():
        plain = model.test_step(make_batch(*sizes))
    data = views(make_batch(*sizes), make_batch(*sizes))
    samples = SemanticTTAModel(model).test_step(data)
    assert len(samples) == 2
    for sample, expected in zip(samples, plain):
        assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)
        assert torch.equal(
            sample.pred_sem_seg.data, expected.pred_sem_seg.data
        )
    first, second = (sample.seg_logits.data for sample in samples)
    assert not torch.equal(first, second)


def test_scores_of_views_are_averaged(build_segmentor, make_batch):
    model = build_segmentor()
    straight, mirrored = make_batch((64, 64)), make_batch((64, 64), flip=True)
    with torch.no_grad():
        (first,) = model.test_step(make_batch((64, 64)))
        (second,) = model.test_step(make_batch((64, 64), flip=True))
    assert not torch.equal(first.seg_logits.data, second.seg_logits.data)
    expected = (first.seg_logits.data + second.seg_logits.data) / 2
    model = SemanticTTAModel(model)
    (sample,) = model.test_step(views(straight, mirrored))
    torch.testing.assert_close(sample.seg_logits.data, expected)
    assert torch.equal(sample.pred_sem_seg.data, expected.argmax(0, True))
    assert torch.equal(
        sample.gt_sem_seg.data, straight['data_samples'][0].gt_sem_seg.data
    )


def test_a_mirrored_image_gives_a_mirrored_result(build_segmentor, make_batch):
    model = SemanticTTAModel(build_segmentor())

    def both(image):
        batches = []
        for flip in (False, True):
            batch = make_batch((64, 64), flip=flip)
            batch['inputs'] = [image.flip(2) if flip else image]
            batches.append(batch)
        return model.test_step(views(*batches))[0].seg_logits.data

    image = make_batch((64, 64))['inputs'][0]
    torch.testing.assert_close(both(image.flip(2)).flip(2), both(image))
