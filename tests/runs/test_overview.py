import io

from rich.console import Console

from rcm_cascade.models.summary import summarise_network
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.overview import level_table


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    for design, count in (("cascade", 3), ("dynunet", 1)):
        levels = summarise_network(compose_config([f"model={design}", "scale=paper"]).model.arguments(6))
        weights = ["0.33"] * 3 if count == 3 else ["0.14 0.29 0.57"]
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(level_table(levels, weights))
        text = console.export_text()
        assert "…" not in text
        for word in ("parameters", "loss weight", weights[0], "reach (px)", "GFLOP/MP"):
            assert word in text
