from pathlib import Path

from rcm_cascade.training.history import MetricsCsv, read_history


def test_rows_are_kept_by_step_and_blanks_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsCsv(path)
    log.log_metrics({"train/loss": 1.5, "epoch": 0}, 10)
    log.log_metrics({"val/loss": 2.5, "epoch": 0}, 10)
    log.log_metrics({"train/loss": 1.25, "epoch": 1}, 20)
    log.save()
    assert read_history(path) == [
        {"epoch": 0, "step": 10, "train/loss": 1.5, "val/loss": 2.5},
        {"epoch": 1, "step": 20, "train/loss": 1.25},
    ]
    assert path.read_text().splitlines()[0] == "epoch,step,train/loss,val/loss"


def test_a_resumed_run_keeps_what_it_will_not_repeat(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsCsv(path)
    for step in (10, 20, 30):
        log.log_metrics({"train/loss": 1 / step, "epoch": step // 10}, step)
    log.save()
    resumed = MetricsCsv(path, resumed_step=20)
    resumed.log_metrics({"train/loss": 9.0, "epoch": 3}, 30)
    resumed.save()
    assert [row["step"] for row in read_history(path)] == [10, 20, 30]
    assert read_history(path)[-1]["train/loss"] == 9
    MetricsCsv(path).save()
    assert read_history(path) == []
