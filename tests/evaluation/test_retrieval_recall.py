# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import METRICS
from mmpretrain.evaluation import RetrievalRecall as MMPretrainRecall

from beit3_mm.evaluation import RetrievalRecall
from beit3_mm.evaluation.retrieval_recall import find_ranks

COUNTS = (5, 1, 3, 2, 5, 4, 5, 1, 2, 6)


def embeddings(counts=COUNTS, noise=1.0, dims=6):
    """Images, and texts that are near to their images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(len(counts), dims, generator=generator)
    texts = images.repeat_interleave(torch.tensor(counts), 0)
    texts = texts + noise * torch.randn(texts.shape, generator=generator)
    return F.normalize(images, dim=1), F.normalize(texts, dim=1).split(counts)


def samples(images, texts):
    return [
        dict(image_id=i, image_embedding=image, text_embeddings=text)
        for i, (image, text) in enumerate(zip(images, texts, strict=True))
    ]


def evaluate(images, texts, **options):
    metric = RetrievalRecall(**options)
    metric.process(None, samples(images, texts))
    return metric.evaluate(len(images))


def plain_recall(images, texts, topk):
    """One query after the other, one candidate after the other."""
    owners = [i for i, rows in enumerate(texts) for _ in rows]
    rows = [row for text in texts for row in text]
    hits = {f'image_to_text_R@{k}': 0 for k in topk}
    hits |= {f'text_to_image_R@{k}': 0 for k in topk}
    for i, image in enumerate(images):
        scores = [(image * row).sum().item() for row in rows]
        order = sorted(range(len(rows)), key=lambda j: -scores[j])  # stable
        for k in topk:
            found = i in [owners[j] for j in order[:k]]
            hits[f'image_to_text_R@{k}'] += 100 * found / len(images)
    for owner, row in zip(owners, rows):
        scores = [(image * row).sum().item() for image in images]
        order = sorted(range(len(images)), key=lambda j: -scores[j])
        for k in topk:
            found = owner in order[:k]
            hits[f'text_to_image_R@{k}'] += 100 * found / len(rows)
    hits['mean_R'] = sum(hits.values()) / len(hits)
    return {f'retrieval/{name}': value for name, value in hits.items()}


@pytest.mark.parametrize('counts', [COUNTS, (1,) * 10])
@pytest.mark.parametrize('topk', [(1, 5, 10), (2,)])
def test_recall_is_that_of_a_plain_loop(counts, topk):
    images, texts = embeddings(counts)
    found = evaluate(images, texts, topk=topk)
    expected = plain_recall(images, texts, topk)
    assert found == pytest.approx(expected)
    assert 10 < expected['retrieval/mean_R'] < 100


def test_equal_candidates_stand_in_the_order_of_the_data():
    # Small integers, so that equal means equal
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 2, (10, 3), generator=generator).float()
    texts = torch.randint(0, 2, (sum(COUNTS), 3), generator=generator).float()
    texts = texts.split(COUNTS)
    found = evaluate(images, texts, topk=(1, 3))
    assert found == pytest.approx(plain_recall(images, texts, (1, 3)))


def test_embeddings_that_are_all_alike_recall_what_chance_does():
    images, texts = torch.ones(10, 4), torch.ones(30, 4).split(3)
    found = evaluate(images, texts, topk=(1, 5))
    assert found['retrieval/text_to_image_R@1'] == pytest.approx(10)
    assert found['retrieval/text_to_image_R@5'] == pytest.approx(50)
    assert found['retrieval/image_to_text_R@1'] == pytest.approx(10)
    assert found['retrieval/image_to_text_R@5'] == pytest.approx(20)


def numbered():
    """Returns images, texts and pairs of their numbers."""
    images, texts = embeddings()
    owners = torch.arange(10).repeat_interleave(torch.tensor(COUNTS))
    pairs = torch.stack([owners, torch.arange(len(owners))])
    return images, torch.cat(texts), pairs


@pytest.mark.parametrize('max_similarities', [1, 35, 100])
def test_chunks_change_nothing(max_similarities):
    images, texts, pairs = numbered()
    for arguments in (
        (images, texts, pairs),
        (texts, images, pairs.flip(0)),
        (images.round(), texts.round(), pairs),
    ):
        whole = find_ranks(*arguments)
        assert whole.max() > 1
        assert torch.equal(find_ranks(*arguments, max_similarities), whole)


def test_chunks_bound_the_memory(monkeypatch):
    sizes = []
    product = torch.Tensor.__matmul__

    def watched(rows, columns):
        result = product(rows, columns)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(torch.Tensor, '__matmul__', watched)
    find_ranks(*numbered(), 70)
    assert sizes == [68] * 5


def test_recall_is_that_of_mmpretrain():
    images, texts, pairs = numbered()
    found = evaluate(images, texts.split(COUNTS), topk=(1, 5))
    similarity = images @ texts.T
    own = [pairs[1, pairs[0] == i] for i in range(10)]
    for way, scores, target in (
        ('image_to_text', similarity, own),
        ('text_to_image', similarity.T, [x[None] for x in pairs[0]]),
    ):
        recalls = MMPretrainRecall.calculate(
            scores, target, (1, 5), target_indices=True
        )
        for k, recall in zip((1, 5), recalls):
            figure = found[f'retrieval/{way}_R@{k}']
            assert figure == pytest.approx(recall.item())


def test_reduced_precision_and_the_registry():
    metric = METRICS.build(dict(type='beit3_mm.RetrievalRecall', prefix='x'))
    images, texts = embeddings(noise=0.0)
    texts = [text.bfloat16().requires_grad_() for text in texts]
    metric.process(None, samples(images.bfloat16(), texts))
    figures = metric.evaluate(10)
    assert figures['x/mean_R'] == 100
    assert len(figures) == 7


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({'image_embedding': None}, "needs 'image_embedding' of the sample "),
        ({'text_embeddings': None}, r"needs 'text_embeddings' .*'predict'"),
        (
            {'text_embeddings': torch.ones(2, 5)},
            r'\(6,\) and .* \(2, 5\) must',
        ),
        ({'text_embeddings': torch.ones(6)}, r'text_embeddings \(6,\) must'),
        (
            {'image_embedding': torch.ones(1, 6)},
            r'image_embedding \(1, 6\) an',
        ),
        ({'text_embeddings': torch.ones(0, 6)}, 'sample 1 has no text'),
        ({'image_embedding': torch.full((6,), torch.nan)}, '1 are not finite'),
    ],
)
def test_bad_samples(changes, error):
    rows = samples(*embeddings((2, 3)))
    rows[1] |= changes
    metric = RetrievalRecall()
    with pytest.raises(ValueError, match=error):
        metric.process(None, rows)
        metric.evaluate(2)


@pytest.mark.parametrize('topk', [(), (0, 5)])
def test_bad_arguments(topk):
    with pytest.raises(ValueError, match='must hold numbers of at least 1'):
        RetrievalRecall(topk)
