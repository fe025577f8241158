"""The file with a run's validations."""
import math

from basicsr_kd.models.validation.journal import Journal


def test_a_run_that_goes_back_keeps_what_was_before_and_passes_over_what_it_cannot_read(tmp_path):
    journal = Journal(tmp_path / 'validations.jsonl')
    assert journal.go_back_to(10) == []
    journal.add(5, 'Set5', {'psnr': 30.5})
    journal.add(10, 'Set5', {'psnr': math.nan})
    journal.add(15, 'Set5', {'psnr': 31.0})
    with journal.path.open('a') as file:
        file.write('{"iteration": 7}\n3\n{"iteration": "x", "dataset": "a", "scores": {}}\n{"iteration": 9, "data')
    first, second = journal.go_back_to(10)
    assert first == (5, 'Set5', {'psnr': 30.5}) and second[:2] == (10, 'Set5') and math.isnan(second[2]['psnr'])
    assert len(journal.path.read_text().splitlines()) == 2
