"""The page of a sweep: one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import jinja2

from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS
from rcm_cascade.evaluate.calibration import pixels_per_mosaic
from rcm_cascade.pictures.png import png_data_uri
from rcm_cascade.report import comparison_figures as figures
from rcm_cascade.report.cells import NO_INTERVAL, Rows
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.comparison_figures import Look, looks
from rcm_cascade.report.figures import confusion_picture
from rcm_cascade.report.findings import METRIC_NAMES, NOT_TOLD, find
from rcm_cascade.report.galleries import Gallery
from rcm_cascade.report.gradients import gradient_figure
from rcm_cascade.report.learning import MONITORED, curve
from rcm_cascade.report.method import method
from rcm_cascade.report.outcomes import METRICS
from rcm_cascade.report.parts import cell
from rcm_cascade.report.results import describe_tested
from rcm_cascade.report.table import SYNTHETIC_NOTE, counted

REGION_TITLES: Final = {
    "regions_per_area": "regions per {unit}",
    "small_regions_share": "share of regions that are small",
    "small_area_share": "share of area in small regions",
}


def render_page(comparison: Comparison, galleries: Sequence[Gallery], metric: str) -> str:
    """The page as HTML; the same input gives the same bytes.

    Args:
        comparison: of the sweep.
        galleries: the pictures to show.
        metric: ``"sensitivity"`` or ``"dice"``: by whose mean the findings are told.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("rcm_cascade.report"), jinja2.PackageLoader("rcm_cascade.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = looks([c.label for c in comparison.configurations], comparison.reference.label)
    alike = [look for look, c in zip(drawn, comparison.configurations, strict=True) if not c.remark]
    rows = Rows(comparison, {look.label: look.color for look in drawn})
    regions = rows.regions()
    return environment.get_template("sweep.html").render(
        title=f"Sweep {comparison.sweep.name}",
        version=version("rcm-cascade"),
        synthetic=comparison.synthetic,
        synthetic_note=SYNTHETIC_NOTE,
        findings=find(comparison, metric),
        metric=METRIC_NAMES[metric],
        not_told=NOT_TOLD,
        no_interval=NO_INTERVAL,
        fewest=MIN_PATIENTS,
        sampled=cell(pixels_per_mosaic(comparison.mosaics)),
        method=method(comparison),
        facts=_facts(comparison),
        overview=rows.means(),
        classes=[
            (c.name, c.color, counted(patients, "patient"))
            for c, patients in zip(comparison.classes.classes, comparison.reference.outcomes[0].holding, strict=True)
        ],
        tables=[{"name": METRIC_NAMES[m], "rows": rows.classes(m)} for m in METRICS],
        levels=rows.levels(),
        costs=rows.costs(),
        score=None if comparison.score is None else f"{comparison.score:.3f}",
        regions=regions,
        calibration=rows.calibration(),
        figures=_figures(comparison, alike, metric, regions["unit"]),
        confusions=[
            (
                f"{c.label}, mean of {counted(len(c.outcomes), 'seed')}"
                + (f", of {describe_tested(c.outcomes)}" if c.remark else ""),
                png_data_uri(confusion_picture(c.confusion, comparison.classes)),
            )
            for c in comparison.configurations
        ],
        galleries=[_gallery(g) for g in galleries],
        left_out=comparison.left_out,
        tested=comparison.tested,
    )


def _facts(comparison: Comparison) -> dict[str, str]:
    outcomes = [o for c in comparison.configurations for o in c.outcomes]
    versions = sorted({str(o.result["version"]) for o in outcomes if "version" in o.result})
    labelled = cell(int(comparison.reference.outcomes[0].confusions.sum()))
    facts = {
        "sweep": comparison.sweep.name,
        "jobs": f"{len(comparison.sweep.jobs)}, of which {len(outcomes)} with a result",
        "configurations": f"{len(comparison.configurations)}, over the seeds "
        + ", ".join(str(s) for s in sorted({o.job.seed for o in outcomes})),
        "reference": comparison.reference.label,
        "tested on": f"{comparison.tested}, {labelled} labelled pixels",
        "data set": ", ".join(sorted({str(o.result["dataset_id"]) for o in outcomes if "dataset_id" in o.result})),
        "trained by": ", ".join(f"rcm_cascade {v}" for v in versions),
    }
    return {name: value for name, value in facts.items() if value}


def _figures(comparison: Comparison, drawn: Sequence[Look], metric: str, unit: str) -> dict[str, str | None]:
    """Of those tested on the same mosaics as the reference."""
    results = {c.label: c for c in comparison.configurations if not c.remark}
    compared = [look for look in drawn if results[look.label].differences]
    panels = {
        name: {look.label: results[look.label].differences[metric][i] for look in compared}
        for name, i in [("mean", -1), *((name, i) for i, name in enumerate(comparison.classes.names))]
    }
    truth: Mapping[str, Any] = (comparison.reference.outcomes[0].metrics.get("coherence") or {}).get("truth") or {}
    titles = {key: title.format(unit=unit) for key, title in REGION_TITLES.items()}
    curves = {
        key: {label: [curve(o.history, key) for o in c.outcomes] for label, c in results.items()}
        for key in (MONITORED, "train/loss")
    }
    return {
        "differences": figures.difference_figure(
            panels, compared, f"difference of {METRIC_NAMES[metric]} to {comparison.reference.label}"
        ),
        "learning": figures.learning_figure(curves[MONITORED], drawn),
        "loss": figures.loss_figure(curves["train/loss"], drawn),
        "regions": figures.region_figure(
            {title: {label: c.regions[key] for label, c in results.items()} for key, title in titles.items()},
            {title: truth.get(key) for key, title in titles.items()},
            drawn,
        ),
        "gradients": gradient_figure({label: c.gradients for label, c in results.items()}),
    }


def _gallery(gallery: Gallery) -> dict[str, Any]:
    return {
        "rank": gallery.rank,
        "mosaic": gallery.mosaic,
        "title": gallery.reference.title,
        "source": png_data_uri(gallery.reference.image),
        "others": [(picture.title, png_data_uri(picture.image)) for picture in gallery.others],
    }
