# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import copy
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import BaseDataElement
from mmpretrain.evaluation import Accuracy

from beit3_mm.datasets.transforms import PackMultimodalInputs
from beit3_mm.models.multimodal import (
    ClassNameClassifier,
    DualEncoder,
    class_name_classifier,
)
from beit3_mm.models.multimodal.class_names import read_class_names

NAMES = [
    'tench, Tinca tinca',
    'crane',
    'ox',
    'crane',
    'garden spider, Araneae',
]
LABELS = (4, 1, 1, 0)
HEAD = dict(type='beit3_mm.ContrastiveHead', embed_dims=24)


class Letters:
    """Stands in for the tokenizer: a letter is a token."""

    pad_id = 1

    def encode(self, text):
        return [3 + ord(letter) % 40 for letter in text]

    def with_special(self, ids, max_tokens):
        return [0, *ids[: max_tokens - 2], 2]


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """Puts the tokenizer in its place; returns the files asked for."""
    files = []

    def load_tokenizer(model_file):
        files.append(model_file)
        return Letters()

    module = SimpleNamespace(load_tokenizer=load_tokenizer)
    monkeypatch.setitem(sys.modules, 'beit3_mm.tokenizer', module)
    return files


@pytest.fixture(params=['released', 'paper'])
def arch(request, tiny_arch, paper_form):
    return tiny_arch | (paper_form if request.param == 'paper' else {})


def backbone(arch):
    return dict(arch, vocab_size=50, max_text_positions=30)


def build(arch, **options):
    torch.manual_seed(0)
    options = dict(class_names=NAMES, model_file='x.spm') | options
    model = ClassNameClassifier(backbone(arch), HEAD, **options)
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.train()


def images(number=4):
    generator = torch.Generator().manual_seed(1)
    return dict(image=torch.randn(number, 3, 32, 32, generator=generator))


def samples(*labels):
    return [BaseDataElement(gt_label=torch.tensor(label)) for label in labels]


def count_texts(model):
    """Counts the texts that are encoded."""
    counts = []
    model.backbone.register_forward_hook(
        lambda _, args, output: counts.append(
            0 if output.language is None else len(output.language)
        )
    )
    return counts


def class_tokens(name):
    ids = Letters().with_special(Letters().encode(name), 20)
    return torch.tensor([ids])


@torch.no_grad()
def test_logits_are_those_of_a_dual_encoder(arch):
    model = build(arch, max_tokens=20).eval()
    dual = DualEncoder(backbone(arch), HEAD).eval()
    dual.load_state_dict(model.state_dict())
    image, _ = dual(images())
    text = torch.cat(
        [dual(dict(text_ids=class_tokens(n))).text for n in NAMES]
    )
    expected = dual.head.logit_scale.exp() * image @ text.T
    torch.testing.assert_close(model(images()), expected)


@pytest.mark.parametrize('smoothing', [0.1, 0.6])
@pytest.mark.parametrize('batch_classes', [False, True])
def test_the_loss(arch, batch_classes, smoothing):
    options = {} if smoothing == 0.1 else dict(label_smoothing=smoothing)
    model = build(arch, batch_classes=batch_classes, **options)
    logits = model(images())
    target = torch.tensor(LABELS)
    if batch_classes:  # 0, 1 and 4
        logits, target = logits[:, [0, 1, 4]], torch.tensor([2, 1, 1, 0])
    expected = F.cross_entropy(logits, target, label_smoothing=smoothing)
    counts = count_texts(model)
    loss = model(images(), samples(*LABELS), 'loss')
    assert set(loss) == {'loss'}
    torch.testing.assert_close(loss['loss'], expected)
    assert sum(counts) == (3 if batch_classes else 5)


def test_labels_of_the_shape_that_mmpretrain_gives(tiny_arch):
    model = build(tiny_arch)
    losses = [
        model(images(2), samples(*labels), 'loss')['loss']
        for labels in ((3, 2), ([3], [2]))
    ]
    assert losses[0] == losses[1]


def gradients(model):
    model(images(), samples(*LABELS), 'loss')['loss'].backward()
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def test_gradients_reach_every_parameter_also_in_chunks(arch):
    found = gradients(build(arch))
    for name, gradient in found.items():
        assert gradient is not None, name
        if not (name.endswith('bias') and 'k_proj' in name):
            assert gradient.abs().max() > 0, name
    torch.testing.assert_close(
        gradients(build(arch, chunk_size=2)), found, rtol=1e-6, atol=1e-6
    )


@torch.no_grad()
def test_predictions(arch):
    model = build(arch).eval()
    result = model(images(), samples(*LABELS), 'predict')
    logits = model(images())
    for sample, row in zip(result, logits, strict=True):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_score.sum().item() == pytest.approx(1)
        assert sample.pred_label.shape == (1,)
        assert sample.pred_label == row.argmax()
        # Two classes have the same name.
        assert sample.pred_score[1] == sample.pred_score[3]


@torch.no_grad()
def test_mmpretrain_measures_the_accuracy(tiny_arch):
    model = build(tiny_arch).eval()
    labels = [model(images()).argmax(1)[i].item() for i in range(4)]
    wrong = [(labels[0] + 2) % 5]  # 0 to 2, 1 to 3 and so on
    pack = PackMultimodalInputs()
    packed = [pack(dict(gt_label=label)) for label in labels[:3] + wrong]
    gt = [item['data_samples'] for item in packed]
    metric = Accuracy(topk=(1, 5))
    result = model(images(), gt, 'predict')
    metric.process(None, [sample.to_dict() for sample in result])
    figures = metric.evaluate(4)
    assert figures == {'accuracy/top1': 75, 'accuracy/top5': 100}


def test_names_are_encoded_once_in_an_evaluation(tiny_arch, loaded):
    model = build(tiny_arch).eval()
    counts = count_texts(model)

    def predict():
        result = model(images(1), samples(0), 'predict')
        return result[0].pred_score.detach()

    first = predict()
    predict()
    assert sum(counts) == 5
    assert loaded == ['x.spm']
    # A step of training
    model.train()
    model.head.language_proj.weight.data.normal_()
    model.eval()
    second = predict()
    assert sum(counts) == 10
    assert not torch.equal(first, second)
    assert loaded == ['x.spm']


def test_names_are_encoded_in_groups_in_an_evaluation(tiny_arch, monkeypatch):
    model = build(tiny_arch).eval()
    expected = model(images())
    monkeypatch.setattr(class_name_classifier, 'NAMES_OF_A_GROUP', 2)
    counts = count_texts(model.eval())
    torch.testing.assert_close(model(images()), expected)
    assert counts == [0, 2, 2, 1]


@pytest.mark.parametrize('load', [None, load_state_dict])
def test_other_weights_make_other_embeddings(tiny_arch, load):
    model = build(tiny_arch).eval()
    before = model(images())
    other = copy.deepcopy(model.state_dict())
    other['head.language_proj.weight'].neg_()
    (load or type(model).load_state_dict)(model, other)
    torch.testing.assert_close(model(images()), -before)


def test_nothing_is_kept_while_training(tiny_arch):
    model = build(dict(tiny_arch, drop_path_rate=0.5))
    counts = count_texts(model)
    first, second = model(images()), model(images())
    assert sum(counts) == 10
    assert not torch.equal(first, second)
    first.sum().backward()  # reaches the names
    assert model.backbone.text_embedding.words.weight.grad is not None


def test_embeddings_carry_no_gradient(tiny_arch):
    model = build(tiny_arch).eval()
    for _ in range(2):  # a graph that is used up would fail
        model(images()).sum().backward()


def test_a_copy_and_a_checkpoint_hold_no_embeddings(tiny_arch):
    model = build(tiny_arch).eval()
    names = set(model.state_dict())
    expected = model(images(1))
    assert set(model.state_dict()) == names
    assert torch.equal(copy.deepcopy(model)(images(1)), expected)


def test_errors(tiny_arch):
    model = build(tiny_arch)
    with pytest.raises(ValueError, match='classification needs an image'):
        model(dict(image=None))
    with pytest.raises(ValueError, match="mode='loss' needs data_samples"):
        model(images(), mode='loss')
    with pytest.raises(ValueError, match="mode='tea' must be"):
        model(images(), mode='tea')
    for label in (5, -1):
        with pytest.raises(
            ValueError, match=rf'\[{label}\] out of range.* 5 '
        ):
            model(images(1), samples(label), 'loss')
    with pytest.raises(ValueError, match=r"needs \['gt_label'\] of the sam"):
        model(images(1), [BaseDataElement()], 'loss')
    with pytest.raises(ValueError, match='chunk_size=-1 must be'):
        build(tiny_arch, chunk_size=-1)


def test_names_from_anywhere(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text('tench, Tinca tinca\ncrane\nspécialité\n', 'utf-8')
    assert read_class_names(str(path))[1:] == ['crane', 'spécialité']
    assert read_class_names(('a', 'b')) == ['a', 'b']
    names = read_class_names(
        'mmpretrain.datasets.categories.IMAGENET_CATEGORIES'
    )
    assert len(names) == 1000
    assert names[0] == 'tench, Tinca tinca'


@pytest.mark.parametrize(
    ('source', 'error', 'message'),
    [
        ('nowhere.txt', FileNotFoundError, r'no file nowhere\.txt of names'),
        ('torch.nowhere', ValueError, "no class names at 'torch.nowhere'"),
        ('torch.__version__', ValueError, 'no class names'),
        ('', ValueError, "no class names at ''"),
        ([], ValueError, r'no class names at \[\]'),
        (['a', ' '], ValueError, "class 1 of .* is called ' '"),
        (['a', 3], ValueError, 'class 1 of .* is called 3'),
    ],
)
def test_names_that_cannot_be(source, error, message):
    with pytest.raises(error, match=message):
        read_class_names(source)
