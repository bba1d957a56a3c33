# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

LOOPS = pytest.mark.parametrize(
    'iterations', [False, True], ids=['epochs', 'iterations']
)


def train(runner):
    """Returns the inputs of each iteration."""
    runner.train()
    seen = torch.stack(runner.model.seen)
    # Left to garbage collection, workers take seconds to end.
    workers = runner.train_dataloader._iterator
    if workers is not None:
        workers._shutdown_workers()
    return seen


@pytest.fixture
def full_run(make_runner, tmp_path):
    def run(iterations, **kwargs):
        runner = make_runner(
            iterations, work_dir=str(tmp_path / 'full'), **kwargs
        )
        return train(runner)

    return run


@LOOPS
def test_samples_do_not_depend_on_workers(full_run, iterations):
    none = full_run(iterations)
    assert len(none) == 12
    for num_workers in (1, 2):
        torch.testing.assert_close(
            full_run(iterations, num_workers=num_workers), none
        )


@LOOPS
def test_epochs_differ(full_run, iterations):
    epochs = full_run(iterations).reshape(3, 8, 4)
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert not torch.isin(epochs[first, :, 1:], epochs[second]).any()
    # Another order too; numbers may repeat, where a sample was rejected.
    assert (epochs[0, :, 0] != epochs[1, :, 0]).any()


@LOOPS
@pytest.mark.parametrize('num_workers', [0, 2])
# Checkpoint 6 is in the middle of the second epoch of four batches.
def test_resume_in_the_middle_goes_on_with_the_same_samples(
    full_run, make_runner, tmp_path, iterations, num_workers
):
    whole = full_run(iterations)
    resumed = make_runner(
        iterations,
        num_workers=num_workers,
        load_from=str(tmp_path / 'full' / 'iter_6.pth'),
        resume=True,
        randomness={'seed': None},
    )
    torch.testing.assert_close(train(resumed), whole[6:])


def test_resume_at_the_end_of_an_epoch(full_run, make_runner, tmp_path):
    by_epoch = {
        'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
        'safe_checkpoint': {'type': 'beit3_mm.SafeCheckpointHook'},
        'load_checkpoint': {'type': 'beit3_mm.LoadCheckpointHook'},
        'sampler_seed': {'type': 'beit3_mm.SampleOrderHook'},
    }
    whole = full_run(False, default_hooks=by_epoch)
    resumed = make_runner(
        load_from=str(tmp_path / 'full' / 'epoch_1.pth'),
        resume=True,
        # Position and order hold for another batch size too.
        batch_size=4,
    )
    torch.testing.assert_close(
        train(resumed).reshape(-1, 4), whole[4:].reshape(-1, 4)
    )


def test_a_best_checkpoint_does_not_skip_an_epoch(make_runner, tmp_path):
    # mmengine writes the newest again behind a validation.
    runner = make_runner()
    runner.train()
    runner.save_checkpoint(
        str(tmp_path), 'epoch_3.pth', meta=dict(epoch=3, iter=12)
    )
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    assert saved['sample_order']['position'] == 0


@pytest.mark.parametrize(
    'iterations, batch_size, warned',
    [(True, 2, False), (True, 4, True), (False, 4, False)],
)
def test_a_resume_with_another_batch_of_iterations_warns(
    full_run, make_runner, tmp_path, iterations, batch_size, warned
):
    full_run(iterations)
    runner = make_runner(
        iterations,
        load_from=str(tmp_path / 'full' / 'iter_6.pth'),
        resume=True,
        batch_size=batch_size,
    )
    messages = []
    runner.logger.warning = lambda text, *x: messages.append(text % x)
    runner.train()
    expected = 'batches of 2 samples over all processes, this one has 4'
    assert any(expected in message for message in messages) == warned


def test_weights_alone_do_not_move_the_order(full_run, make_runner, tmp_path):
    whole = full_run(False)
    loaded = make_runner(load_from=str(tmp_path / 'full' / 'iter_6.pth'))
    torch.testing.assert_close(train(loaded), whole)


@pytest.mark.parametrize(
    ('iterations', 'change', 'remedy'),
    [
        (False, {'sampler': {'type': 'DefaultSampler'}}, 'EpochSampler'),
        (
            False,
            {'dataset': {'type': 'ToyDataset', 'size': 8}},
            'SeededDataset',
        ),
        (
            False,
            {'sampler': {'type': 'beit3_mm.InfiniteSampler'}},
            'EpochSampler for epochs',
        ),
        (
            True,
            {'sampler': {'type': 'beit3_mm.EpochSampler'}},
            'InfiniteSampler for iterations',
        ),
    ],
)
def test_wrong_combinations_are_refused(
    make_runner, iterations, change, remedy
):
    runner = make_runner(iterations)
    for key, value in change.items():
        runner._train_dataloader[key] = value
    with pytest.raises(ValueError, match=remedy):
        runner.train()
