# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from beit3_mm.apis import save_embeddings, stack_embeddings
from beit3_mm.apis.embeddings import check_npz

TEXTS = ['how many red', 'above', 'blue circle']


def saved(tmp_path, predictions):
    path = tmp_path / 'new' / 'x.npz'
    save_embeddings(path, predictions)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_images_texts_and_similarities(inferencer, images, tmp_path):
    predictions = inferencer('retrieval')(images, TEXTS)
    arrays = saved(tmp_path, predictions)
    assert {key: value.shape for key, value in arrays.items()} == {
        'image': (4, 24),
        'text': (3, 24),
        'similarities': (4, 3),
        'images': (4,),
        'texts': (3,),
    }
    assert arrays['image'].dtype == np.float32
    for key in ('image', 'text'):
        lengths = np.linalg.norm(arrays[key], axis=1)
        np.testing.assert_allclose(lengths, 1, rtol=1e-6)
    np.testing.assert_allclose(
        arrays['similarities'], arrays['image'] @ arrays['text'].T, atol=1e-6
    )
    assert arrays['images'].tolist() == [str(path) for path in images]
    assert arrays['texts'].tolist() == TEXTS
    ranking = predictions[0]
    best = arrays['similarities'][0].argsort()[::-1]
    assert ranking.indices == best.tolist()


def test_one_kind_alone(inferencer, images, tmp_path):
    predictions = inferencer('retrieval')(images)
    arrays = saved(tmp_path, predictions)
    assert set(arrays) == {'image', 'images'}
    assert [x.answer() for x in predictions] == ['embedded'] * 4
    assert predictions[0].candidates == []
    arrays = saved(tmp_path, inferencer('retrieval')((), TEXTS))
    assert set(arrays) == {'text', 'texts'}


@pytest.mark.parametrize('kind', ['vqa', 'nlvr2'])
def test_fused(inferencer, images, tmp_path, kind):
    """The head makes the predictions of them."""
    model = inferencer(kind).model
    predictions = inferencer(kind)(images[:2], 'above')
    arrays = saved(tmp_path, predictions)
    assert set(arrays) == {'fused', 'images', 'texts'}
    fused = torch.from_numpy(arrays['fused'])
    if kind == 'vqa':
        assert arrays['images'].tolist() == [str(x) for x in images[:2]]
        scores = model.head(fused[:, None], None).sigmoid()
        best = scores[0].max().item()
        assert best == pytest.approx(predictions[0].scores[0], rel=1e-5)
    else:
        assert arrays['images'].tolist() == [[str(x) for x in images[:2]]]
        assert fused.shape == (1, 4 * 24)
        tokens = fused.view(1, 2, 2, 1, 24)  # image, modality
        scores = model.head(tokens[:, :, 0], tokens[:, :, 1]).softmax(-1)
        score = scores[0, 1].item()
        assert score == pytest.approx(predictions[0].score, rel=1e-5)


def test_classifiers(inferencer, images, tmp_path):
    predictions = inferencer('names')(images)
    arrays = saved(tmp_path, predictions)
    assert arrays['similarities'].shape == (4, 3)
    scale = inferencer('names').model.head.logit_scale.exp().item()
    logits = torch.from_numpy(arrays['similarities']) * scale
    best = logits.softmax(-1).max(1).values.tolist()
    assert [x.scores[0] for x in predictions] == pytest.approx(best, rel=1e-4)
    arrays = saved(tmp_path, inferencer('linear')(images))
    assert set(arrays) == {'image', 'images'}
    head = inferencer('linear').model.head
    scores = head.fc(torch.from_numpy(arrays['image'])).softmax(-1).max(1)
    expected = [x.scores[0] for x in inferencer('linear')(images)]
    assert scores.values.tolist() == pytest.approx(expected, rel=1e-4)


def test_what_has_none_is_told(inferencer, images):
    predictions = inferencer('caption')(images[:1])
    with pytest.raises(ValueError, match=r"no embeddings .*'Caption'"):
        stack_embeddings(predictions)


def test_another_kind_of_file_is_refused(inferencer, images, tmp_path):
    with pytest.raises(ValueError, match=r'a \.npz file, not .*x\.txt'):
        save_embeddings(tmp_path / 'x.txt', inferencer('linear')(images[0]))
    with pytest.raises(ValueError, match=r'not embeddings$'):
        check_npz('embeddings')
