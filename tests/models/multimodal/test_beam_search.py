# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from dataclasses import replace

import captioners
import pytest
import torch
from captioners import EOS_ID, MASK_ID, NUM_WORDS, images

from beit3_mm.layers.masks import image_to_text_mask
from beit3_mm.models.multimodal.beam_search import BeamSearch, _Steps

SEARCHES = (
    dict(),
    dict(num_beams=1, max_tokens=12),
    dict(num_beams=4, max_tokens=8, length_penalty=1.0),
    dict(num_beams=2, max_tokens=11, length_penalty=0.0),
    dict(num_beams=3, max_tokens=10, length_penalty=-0.5),
    dict(num_beams=2, max_tokens=3),
)
# Seeds of weights, and what makes `</s>` likelier
WEIGHTS = ((1, -1.0), (1, 0.0), (1, 1.0), (2, 2.0), (6, 0.0), (6, 2.0))


def build(arch, seed=1, search=None, eos_bias=1.0, **options):
    """Returns a captioner whose captions depend on image and words."""
    model = captioners.build(arch, search, **options).eval()
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        std = 2.0 if 'embedding' in name else 0.5
        torch.nn.init.normal_(parameter, std=std)
    model.head.lm.bias.data[EOS_ID] += eos_bias
    return model


def write(model, image, search=None):
    search = search or model.beam_search
    return search(model.backbone, model.head, image)


def next_log_probs(model, image, ids):
    """Log-probabilities of the word after `ids`, from one uncached pass."""
    text_ids = torch.tensor([[*ids, MASK_ID]])
    output = model.backbone(
        image[None],
        text_ids,
        attn_mask=image_to_text_mask(17, text_ids.shape[1]),
    )
    return model.head(output.language[0, -1]).log_softmax(0)


def slow_search(model, image):
    """Searches for one image's caption, in lists; also counts the steps."""
    search = model.beam_search
    beams, best, steps = [(0.0, [search.bos_id])], (-torch.inf, None), 0
    while beams:
        steps += 1
        found = []
        for total, ids in beams:
            log_probs = next_log_probs(model, image, ids)[: search.mask_id]
            found += [
                (total + x.item(), ids, i) for i, x in enumerate(log_probs)
            ]
        found.sort(key=lambda x: x[0], reverse=True)
        bound = found[0][0] / (search.max_tokens - 1) ** search.length_penalty
        if best[0] >= bound:
            break
        length, beams = len(beams[0][1]) + 1, []  # with the mask
        for total, ids, word in found[: 3 * search.num_beams]:
            if len(beams) == search.num_beams:
                break
            if length == search.max_tokens - 1 or word == search.eos_id:
                score = total / length**search.length_penalty
                if score > best[0]:
                    best = score, [*ids, search.mask_id, search.eos_id]
            else:
                beams.append((total, [*ids, word]))
    padding = [search.pad_id] * (search.max_tokens - len(best[1]))
    return best[0], best[1] + padding, steps


def read_by_hand(monkeypatch):
    """Returns a list that grows by the number of images of every step."""
    calls, original = [], _Steps.__call__

    def call(self, words, *args):
        calls.append(len(words))
        return original(self, words, *args)

    monkeypatch.setattr(_Steps, '__call__', call)
    return calls


@torch.no_grad()
@pytest.mark.parametrize(
    ('beams', 'length', 'penalty'), [(3, 12, 0.6), (1, 12, 0.6), (4, 8, 1.0)]
)
def test_agreement_with_the_official_search(golden, beams, length, penalty):
    config, tensors = golden('beit3_tiny_captioning')
    model, inputs = captioners.official(config, tensors)
    search = replace(
        model.beam_search,
        num_beams=beams,
        max_tokens=length,
        length_penalty=penalty,
    )
    captions = write(model, inputs['image'], search)
    expected = tensors[f'out/beam{beams}_len{length}_lp{penalty}']
    assert torch.equal(captions.ids, expected)


@torch.no_grad()
@pytest.mark.parametrize('search', SEARCHES)
@pytest.mark.parametrize(('seed', 'eos_bias'), WEIGHTS)
def test_agreement_with_a_slow_search(tiny_arch, search, seed, eos_bias):
    model = build(tiny_arch, seed, search, eos_bias)
    captions = write(model, images())
    for i, image in enumerate(images()):
        score, ids, _ = slow_search(model, image)
        assert captions.ids[i].tolist() == ids
        assert captions.scores[i].item() == pytest.approx(score, abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('use_vl_experts', [False, True])
def test_agreement_in_the_papers_form(tiny_arch, paper_form, use_vl_experts):
    arch = tiny_arch | paper_form
    model = build(arch, use_vl_experts=use_vl_experts)
    captions = write(model, images())
    for i, image in enumerate(images()):
        score, ids, _ = slow_search(model, image)
        assert captions.ids[i].tolist() == ids
        assert captions.scores[i].item() == pytest.approx(score, abs=1e-4)


@torch.no_grad()
def test_the_cases_differ(tiny_arch):
    """Captions end early and late, by `</s>` and by the length."""
    lengths, steps = set(), set()
    for seed, eos_bias in WEIGHTS:
        model = build(tiny_arch, seed, eos_bias=eos_bias)
        for image in images():
            _, ids, number = slow_search(model, image)
            lengths.add(ids.index(EOS_ID))
            steps.add(number)
    assert len(lengths) >= 4 and max(lengths) == 19
    assert len(steps) >= 4 and max(steps) == 18


@torch.no_grad()
def test_cached_steps_equal_one_pass(tiny_arch):
    model = build(tiny_arch)
    image = images(2)
    steps = _Steps(model.backbone, image, 3)
    texts = [[[0]] * 3 for _ in image]
    torch.manual_seed(0)
    for position in range(6):
        words = torch.tensor([[ids[-1] for ids in beams] for beams in texts])
        tokens = steps(words, position, MASK_ID)
        log_probs = model.head(tokens).log_softmax(-1)
        parents = torch.randint(3, (2, 3))
        steps.reorder(parents)
        for i, beams in enumerate(texts):
            for ids, ours in zip(beams, log_probs[i]):
                expected = next_log_probs(model, image[i], ids)
                torch.testing.assert_close(ours, expected)
            texts[i] = [
                [*beams[parent], int(torch.randint(3, MASK_ID, ()))]
                for parent in parents[i].tolist()
            ]


@torch.no_grad()
def test_the_batch_changes_nothing(tiny_arch):
    model = build(tiny_arch)
    together = write(model, images())
    assert len({tuple(ids) for ids in together.ids.tolist()}) > 1
    for i, image in enumerate(images()):
        alone = write(model, image[None])
        assert torch.equal(alone.ids[0], together.ids[i])
        torch.testing.assert_close(alone.scores[0], together.scores[i])


@torch.no_grad()
def test_the_search_stops_when_all_images_are_done(tiny_arch, monkeypatch):
    calls = read_by_hand(monkeypatch)
    model = build(tiny_arch)
    write(model, images())
    steps = [slow_search(model, image)[2] for image in images()]
    assert min(steps) < max(steps) < 18
    assert len(calls) == max(steps)


@torch.no_grad()
def test_each_image_stops_as_soon_as_nothing_better_can_come(
    tiny_arch, monkeypatch
):
    calls, search = read_by_hand(monkeypatch), dict(length_penalty=1.0)
    for seed, eos_bias in WEIGHTS:
        model = build(tiny_arch, seed, search | dict(max_tokens=8), eos_bias)
        for image in images():
            calls.clear()
            write(model, image[None])
            assert len(calls) == slow_search(model, image)[2]


@torch.no_grad()
def test_an_image_is_encoded_once_for_all_beams(tiny_arch):
    model, shapes, keys = build(tiny_arch, eos_bias=-9.0), [], []
    layer = model.backbone.encoder.layers[0]
    layer.register_forward_hook(
        lambda _, args, output: shapes.append(tuple(args[0].shape[:2]))
    )
    layer.register_forward_hook(
        lambda _, args, output: keys.append(output[1][0][0].data_ptr())
    )
    write(model, images(2))
    # 17 tokens of each image, then 3 words and 3 masks
    assert shapes == [(2, 17)] + [(2, 6)] * 18
    assert len(set(keys[2:])) == 1  # and its keys are never copied


@torch.no_grad()
def test_special_ids_are_the_settings(tiny_arch):
    ids = dict(bos_id=5, pad_id=6, eos_id=7, mask_id=8)
    model = build(tiny_arch, search=ids)
    model.head.lm.bias[7] += 3
    captions = write(model, images())
    for row in captions.ids.tolist():
        end = row.index(7)
        assert row[0] == 5
        assert row[end - 1] == 8
        assert set(row[end + 1 :]) <= {6}
    assert (captions.ids == 6).any()


@torch.no_grad()
def test_words_lie_in_front_of_the_mask(tiny_arch):
    model = build(tiny_arch, search=dict(mask_id=20, max_tokens=12))
    model.head.lm.bias[20:] += 50
    captions = write(model, images())
    assert ((captions.ids == 20).sum(1) == 1).all()  # in front of `</s>`
    assert captions.ids.max() == 20


@torch.no_grad()
def test_bfloat16(tiny_arch):
    model = build(tiny_arch)
    exact = write(model, images())
    with torch.autocast('cpu', torch.bfloat16):
        rough = write(model, images())
    assert rough.scores.dtype == torch.float32
    torch.testing.assert_close(
        rough.scores, exact.scores, rtol=0.05, atol=0.05
    )
    assert (rough.ids[:, 0] == 0).all()
    assert ((rough.ids == EOS_ID).sum(1) == 1).all()
    assert rough.ids.max() < NUM_WORDS


def test_errors():
    with pytest.raises(ValueError, match='num_beams=0 must be at least 1'):
        BeamSearch(num_beams=0)
    with pytest.raises(ValueError, match='max_tokens=2 must be at least 3'):
        BeamSearch(max_tokens=2)
    with pytest.raises(ValueError, match='mask_id=2 must be the last id'):
        BeamSearch(mask_id=2)
