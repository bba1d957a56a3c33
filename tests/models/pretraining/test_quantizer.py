# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from two_processes import run_in_two_processes

from beit3_mm.models.pretraining import quantizer as module
from beit3_mm.models.pretraining.quantizer import (
    Quantizer,
    nearest,
    spherical_kmeans,
)

NUM_CODES, DIMS = 16, 8


def clusters(generator, per_cluster=20, noise=0.05):
    """Returns vectors around each of 16 directions, and the directions.

    All are in one half of the space.
    """
    centres = torch.randn(NUM_CODES, DIMS, generator=generator)
    centres[:, 0] = centres[:, 0].abs() + 1
    centres = F.normalize(centres, dim=1)
    shape = per_cluster, NUM_CODES, DIMS
    vectors = centres + noise * torch.randn(shape, generator=generator)
    return 3 * vectors, centres  # of any length


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


def started(vectors, **options):
    quantizer = Quantizer(NUM_CODES, DIMS, **options)
    quantizer.start(vectors)
    return quantizer


def learn(quantizer, vectors):
    return quantizer.learn(vectors, quantizer(vectors).ids)


def usage(quantizer, vectors):
    return len(quantizer(vectors).ids.unique()) / NUM_CODES


def test_the_nearest_code_is_found_in_chunks(generator, monkeypatch):
    vectors = torch.randn(50, DIMS, generator=generator)
    codes = torch.randn(NUM_CODES, DIMS, generator=generator)
    expected = torch.cdist(vectors, codes).argmin(1)
    assert torch.equal(nearest(vectors, codes), expected)
    monkeypatch.setattr(module, 'CHUNK', 7 * NUM_CODES)
    assert torch.equal(nearest(vectors, codes), expected)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(nearest(vectors, codes), expected)


def test_kmeans_is_better_than_its_start(generator, monkeypatch):
    vectors = F.normalize(torch.randn(400, DIMS, generator=generator), dim=1)
    costs = []
    for steps in (0, 1, 10):
        monkeypatch.setattr(module, 'KMEANS_STEPS', steps)
        torch.manual_seed(3)
        means = spherical_kmeans(vectors, NUM_CODES)
        torch.testing.assert_close(means.norm(dim=1), torch.ones(NUM_CODES))
        costs.append(torch.cdist(vectors, means).amin(1).pow(2).sum())
    assert costs[0] > costs[1] > costs[2]


def test_the_codebook_starts_from_the_first_vectors_only(generator):
    vectors, _ = clusters(generator)
    quantizer = Quantizer(NUM_CODES, DIMS)
    with pytest.raises(ValueError, match='the codebook is empty'):
        quantizer(vectors)
    quantizer.start(vectors)
    codes = quantizer.codes.clone()
    assert usage(quantizer, vectors) >= 0.5
    quantizer.start(-vectors)
    assert torch.equal(quantizer.codes, codes)
    again = Quantizer(NUM_CODES, DIMS)
    again.load_state_dict(quantizer.state_dict())
    again.start(-vectors)
    assert torch.equal(again.codes, codes)


def test_fewer_vectors_than_codes(generator):
    quantizer = started(torch.randn(3, DIMS, generator=generator))
    torch.testing.assert_close(
        quantizer.codes.norm(dim=1), torch.ones(NUM_CODES)
    )
    learn(quantizer, torch.randn(2, 1, DIMS, generator=generator))


def test_codes_follow_their_vectors(generator):
    vectors, centres = clusters(generator)
    quantizer = Quantizer(NUM_CODES, DIMS, decay=0.9)
    tilted = F.normalize(centres + 0.1, dim=1)
    quantizer.codes.copy_(tilted)
    quantizer.started.fill_(1)
    for _ in range(100):
        statistics = learn(quantizer, vectors)
    means = F.normalize(F.normalize(vectors, dim=-1).sum(0), dim=1)
    torch.testing.assert_close(quantizer.codes, means, rtol=0, atol=1e-3)
    assert statistics['codebook_usage'] == 1
    assert statistics['codebook_perplexity'] == pytest.approx(NUM_CODES)
    assert statistics['codes_revived'] == 0
    torch.testing.assert_close(
        quantizer.cluster_size,
        torch.full((NUM_CODES,), 20.0),
        rtol=1e-3,
        atol=0,
    )


def kill_half(quantizer, centres):
    """Moves half of the codes to where no vector is near."""
    codes = centres.clone()
    codes[NUM_CODES // 2 :] = -torch.eye(DIMS)[0]
    quantizer.codes.copy_(codes)
    quantizer.started.fill_(1)


def test_half_of_the_codes_die_and_come_back(generator):
    vectors, centres = clusters(generator)
    quantizer = Quantizer(NUM_CODES, DIMS, revive_after=5)
    kill_half(quantizer, centres)
    logged = [learn(quantizer, vectors) for _ in range(40)]
    used = [float(x['codebook_usage']) for x in logged]
    revived = [int(x['codes_revived']) for x in logged]
    assert max(used[:5]) <= 0.5
    assert revived[:5] == [0, 0, 0, 0, NUM_CODES // 2]
    assert min(used[5:]) > 0.5
    assert usage(quantizer, vectors) >= 0.9
    perplexities = [float(x['codebook_perplexity']) for x in logged]
    assert perplexities[-1] > 1.5 * perplexities[0]


def test_without_revival_they_stay_dead(generator):
    vectors, centres = clusters(generator)
    quantizer = Quantizer(NUM_CODES, DIMS, revive_after=0)
    kill_half(quantizer, centres)
    for _ in range(40):
        statistics = learn(quantizer, vectors)
        assert statistics['codes_revived'] == 0
    assert usage(quantizer, vectors) == 0.5


def test_idle_steps_survive_a_resume(generator):
    vectors, centres = clusters(generator)
    first = Quantizer(NUM_CODES, DIMS, revive_after=5)
    kill_half(first, centres)
    for _ in range(4):
        learn(first, vectors)
    second = Quantizer(NUM_CODES, DIMS, revive_after=5)
    second.load_state_dict(first.state_dict())
    assert learn(second, vectors)['codes_revived'] == NUM_CODES // 2


@pytest.mark.parametrize(
    'options',
    [
        dict(decay=1.0),
        dict(num_codes=0),
        dict(code_dims=0),
        dict(revive_after=-1),
    ],
)
def test_wrong_sizes(options):
    with pytest.raises(ValueError, match='must be at least'):
        Quantizer(**dict(num_codes=4, code_dims=2) | options)


def shares(rank):
    generator = torch.Generator().manual_seed(5)
    vectors, centres = clusters(generator)
    return vectors[10 * rank : 10 * rank + 10], vectors, centres


def train():
    """Starts and trains from this process's vectors; kills half and waits."""
    torch.manual_seed(dist.get_rank())
    own, _, centres = shares(dist.get_rank())
    own_start = started(own).codes.clone()
    quantizer = Quantizer(NUM_CODES, DIMS, decay=0.9, revive_after=5)
    kill_half(quantizer, centres)
    learned = [learn(quantizer, own) for _ in range(2)]
    before = quantizer.codes.clone()
    for _ in range(3):
        learned.append(learn(quantizer, own))
    return own_start, before, quantizer.codes, learned


def test_two_processes_share_one_codebook(tmp_path):
    first, second = run_in_two_processes(train, tmp_path)
    for a, b in zip(first[:3], second[:3]):
        assert torch.equal(a, b)
    assert first[3] == second[3]
    assert first[3][-1]['codes_revived'] == NUM_CODES // 2
    # Before anything was drawn, they learn as one process of all vectors.
    _, vectors, centres = shares(0)
    quantizer = Quantizer(NUM_CODES, DIMS, decay=0.9, revive_after=5)
    kill_half(quantizer, centres)
    for expected in first[3][:2]:
        statistics = learn(quantizer, vectors)
        for name, value in statistics.items():
            torch.testing.assert_close(value, expected[name])
    torch.testing.assert_close(quantizer.codes, first[1])
