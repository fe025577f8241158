"""scripts/bench_latency.py, on tiny networks."""
import json

import bench_latency
import pytest
import torch
from bench.journal import Journal
from torch import nn

from basicsr_kd.utils.modes import fast_formats


class Broken(nn.Module):
    def forward(self, image):
        raise RuntimeError('no such kernel\nstack')


def tiny() -> dict[str, nn.Module]:
    return {'net': nn.Conv2d(3, 3, 3), 'broken': Broken()}


def test_networks_are_timed_and_failures_told(tmp_path, capsys):
    bench_latency.main(['--device', 'cpu', '--ways', 'eager', '--lr-size', '8', '--turns', '2', '--output',
                        str(tmp_path)], tiny)

    rows = json.loads((tmp_path / 'results.json').read_text())['rows']
    formats = fast_formats('cpu')
    assert {(row['network'], row['format'], row['way']) for row in rows} == {
        (net, name, 'eager') for net in ('net', 'broken') for name in formats}
    for row in rows:
        assert row['failure'] == 'RuntimeError: no such kernel' if row['network'] == 'broken' else row['seconds'][1] > 0
    text = (tmp_path / 'table.md').read_text()
    assert text in capsys.readouterr().out and 'broken, eager, fp32: RuntimeError: no such kernel' in text


def test_what_the_budget_does_not_reach_is_not_compiled(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(bench_latency, 'compiled', lambda net: made.append(net) or net)
    networks = {'net': nn.Conv2d(3, 3, 3), 'other': nn.Conv2d(3, 3, 3)}
    image, journal = torch.rand(1, 3, 8, 8), Journal(tmp_path / 'journal.jsonl')

    rows, left_out = bench_latency.measure(networks, image, ['fp32'], ['compiled'], 1, -1, journal)
    assert (rows, left_out, made) == ([], ['net in fp32', 'other in fp32'], [])

    rows, left_out = bench_latency.measure(networks, image, ['fp32'], ['compiled'], 1, 1000, journal)
    assert [row['way'] for row in rows] == ['compiled'] * 2 and not left_out and made == list(networks.values())
    assert [json.loads(line) for line in (tmp_path / 'journal.jsonl').read_text().splitlines()] == rows


def test_a_graph_that_cannot_be_made_does_not_stop_the_others(monkeypatch):
    def graphed(net, image, dtype):
        if isinstance(net, Broken):
            raise RuntimeError('capture failed\nstack')
        return net
    monkeypatch.setattr(bench_latency, 'graphed', graphed)

    rows = bench_latency.timed_graphs(tiny(), torch.rand(1, 3, 8, 8), 'fp32', 1)

    assert {row['network']: row.get('failure') for row in rows} == {'broken': 'capture failed', 'net': None}


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], '--device cuda: PyTorch sees no GPU here'),
    (['--device', 'cpu'], '--device cpu has no CUDA graphs'),
    (['--device', 'cpu', '--ways', 'eager', '--turns', '0'], '--turns and --lr-size must be 1 or more')])
def test_what_cannot_be_timed_is_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        bench_latency.main(arguments)
    assert message in capsys.readouterr().err
