# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import importlib
import io
import tarfile
from pathlib import Path

import pytest

from beit3_mm.datasets import ShardDataset

TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/index_shards.py'


@pytest.fixture
def shards(tmp_path):
    """Three shards of two pairs each; the last is cut in its second."""
    for number in range(3):
        path = tmp_path / f'cc/{number}.tar'
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, 'w') as tar:
            for name in ('a.jpg', 'a.txt', 'b.jpg', 'b.txt'):
                info = tarfile.TarInfo(name)
                info.size = 5
                tar.addfile(info, io.BytesIO(b'a cat'))
    path.write_bytes(path.read_bytes()[:2500])
    return sorted(map(str, tmp_path.glob('cc/*.tar')))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the tool; returns what it says, and the message it ends with."""
    monkeypatch.syspath_prepend(TOOL.parent)
    tool = importlib.import_module(TOOL.stem)

    def run(*arguments):
        error = ''
        try:
            tool.main([*map(str, arguments)])
        except SystemExit as end:
            error = end.code
        return capsys.readouterr().out, error

    return run


@pytest.mark.parametrize('workers', [1, 2])
def test_it_writes_indices_once_and_names_damage(
    shards, tmp_path, run, workers
):
    folder = tmp_path / 'indices'
    options = '--index-dir', folder, '--workers', workers
    said, error = run(*shards[:1], *options)
    assert not error
    assert '1 new, of 2 samples; 0 were there' in said
    first = folder / 'cc/0.tar.index.npz'
    before = first.stat().st_mtime_ns
    said, _ = run(*shards, *options)
    assert f'damaged: {shards[2]}: cut' in said
    assert f'indices: {folder} (2 new, ' in said
    assert '; 1 were there)' in said
    assert first.stat().st_mtime_ns == before
    names = sorted(path.name for path in folder.rglob('*.*'))
    assert names == [f'{number}.tar.index.npz' for number in range(3)]
    dataset = ShardDataset(shards, with_text=True, index_dir=str(folder))
    assert len(dataset) == 5


def test_beside_the_shards(shards, run):
    said, _ = run(*shards, '--workers', 1)
    assert 'indices: beside the shards (3 new' in said
    assert Path(f'{shards[0]}.index.npz').is_file()


def test_wrong_input_ends_with_one_message(shards, tmp_path, run):
    said, error = run(tmp_path / 'no.tar')
    assert (said, error) == ('', f'error: there is no shard {tmp_path}/no.tar')
    twin = tmp_path / 'more/cc/0.tar'
    twin.parent.mkdir(parents=True)
    twin.write_bytes(b'')
    _, error = run(shards[0], twin, '--index-dir', tmp_path)
    assert 'would share an index' in error
    _, error = run(shards[0], '--workers', 0)
    assert error == 'error: --workers 0 must be at least 1'
