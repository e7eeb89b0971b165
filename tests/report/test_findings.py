import re
from dataclasses import replace
from typing import Any

import jinja2

from rcm_cascade.evaluate.bootstrap import Difference
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report import pages
from rcm_cascade.report.compare import Comparison, Configuration, describe_seeds, find
from rcm_cascade.report.outcomes import MEAN, Number


def said(comparison: Comparison, metric: str = "sensitivity") -> str:
    """What findings.html says, a line a paragraph or item."""
    page = pages.render("findings.html", **find(comparison, metric))
    lines = (re.sub(r"<[^>]*>", "", line) for line in re.split(r"</p>|</li>|<ul>", page))
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())


def row(difference: Difference) -> list[object]:
    """The columns of a difference in the table of numbers."""
    return [difference.value, *(difference.interval or (None, None)), difference.differs, difference.patients]


COLUMNS = ["difference", "low", "high", "differs", "patients"]


def with_means(comparison: Comparison, *means: Difference) -> Comparison:
    """The same with other differences of the mean, of both configurations that are compared."""
    numbers: Any = comparison.numbers.copy()
    for c, mean in zip(comparison.compared, means, strict=True):
        for metric in METRICS:
            numbers.loc[(c.label, 0, MEAN, metric), COLUMNS] = row(mean)
    return replace(comparison, numbers=numbers)


def without_differences(comparison: Comparison, *labels: str) -> Any:
    """The numbers, those of some configurations without differences."""
    numbers: Any = comparison.numbers.copy()
    numbers.loc[list(labels), COLUMNS] = row(Difference(None, None))
    return numbers


def with_seeds(comparison: Comparison, seeds: int) -> Comparison:
    """The same, as if so many seeds were compared."""
    configurations = tuple(
        c if c is comparison.reference else replace(c, seeds_compared=seeds) for c in comparison.configurations
    )
    return replace(comparison, configurations=configurations)


def labels(found: list[tuple[Configuration, Number]]) -> list[str]:
    return [configuration.label for configuration, _ in found]


def test_the_worse_one_differs_and_the_equal_one_does_not(compared: Comparison) -> None:
    text = said(compared)
    assert "9 jobs with a result make 3 configurations, tested on 8 test mosaics of 7 patients. Each" in text
    assert "the reference, model.levels=3, by the mean sensitivity over the classes, which has 0." in text
    found = find(compared, "sensitivity")
    assert labels(found["different"]) == ["model.levels=1"]
    assert labels(found["alike"]) == ["model.levels=2"]
    assert "Different from zero (the interval leaves it out), largest first:\nmodel.levels=1: −0.1" in text
    assert "(95 % interval −0." in text
    assert found["unmeasured"] == found["networks"] == []
    assert re.search(r"Of the 12 differences of a class’s sensitivity, \d+ differ from zero, largest first: ", text)
    assert text.count(" in model.levels=1 (−") == 6
    assert "by the mean Dice" in said(compared, "dice")


def test_the_largest_comes_first(compared: Comparison) -> None:
    small, large = Difference(0.01, (0.005, 0.02), 7), Difference(-0.2, (-0.3, -0.1), 7)
    for pair in ((small, large), (large, small)):
        found = find(with_means(compared, *pair), "dice")["different"]
        assert [number.difference for _, number in found] == [-0.2, 0.01]
    none = Difference(0.3, (-0.1, 0.7), 7), Difference(-0.4, (-0.9, 0.0), 7)
    found = find(with_means(compared, *none), "dice")
    assert found["different"] == []
    assert labels(found["alike"]) == ["model.levels=1", "model.levels=2"]


def test_without_an_interval_nothing_differs(compared: Comparison) -> None:
    comparison = with_means(compared, Difference(0.3, None, 3), Difference(None, None, 0))
    found = find(comparison, "dice")
    assert found["different"] == found["alike"] == []
    text = said(comparison, "dice")
    assert "model.levels=2: +0.300, without an interval, because 3 patients are fewer than 5\n" in text
    assert "model.levels=1: the difference is not defined" in text


def test_what_is_missing_is_said(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    fewer = replace(same, outcomes=same.outcomes[:1])
    other = replace(worse, seeds_compared=0, remark="other classes than the reference's")
    numbers = without_differences(compared, worse.label)
    configurations = (reference, fewer, other)
    text = said(replace(compared, configurations=configurations, missing=("model.levels=4",), numbers=numbers), "dice")
    assert "model.levels=1: not compared, because other classes than the reference&#39;s\n" in text
    assert "model.levels=4: no finished job" in text
    assert "model.levels=2 has 1 seed with a result, of 3." in text
    alone = said(replace(compared, configurations=(reference,)), "dice")
    assert "there is nothing to compare" in alone
    assert "differences of a class" not in alone


def test_with_one_seed_networks_are_compared_not_configurations(compared: Comparison) -> None:
    means = with_means(compared, Difference(0.01, (-0.01, 0.03), 7), Difference(-0.2, (-0.3, -0.1), 7))
    found = find(with_seeds(means, 1), "dice")
    assert found["different"] == found["alike"] == found["unmeasured"] == []
    text = said(with_seeds(means, 1), "dice")
    assert "model.levels=1: −0.200 (95 % interval −0.300 to −0.100), different from zero\n" in text
    assert "model.levels=2: +0.010 (95 % interval −0.010 to +0.030), not distinguishable from zero\n" in text
    assert "Those of model.levels=2, model.levels=1 are between two trained networks only." in text
    assert "two trained networks" not in said(compared, "dice")


def method(comparison: Comparison) -> str:
    template: jinja2.Template = pages._environment().get_template("findings.html")
    return " ".join(str(template.make_module(find(comparison, "dice")).method()).split())  # type: ignore[attr-defined]


def test_the_method_says_how_many_were_drawn_and_how_percentiles_are_expanded(compared: Comparison) -> None:
    text = method(compared)
    assert "percentiles of 2000 resamples, in each of which the 7 patients are drawn" in text
    assert "expanded for the number of patients" in text
    assert "In a resample that lacks a class, means are over the other classes." in text
    first = compared.reference.outcomes[0]
    few = replace(compared.reference, outcomes=(replace(first, mosaics=first.mosaics[:4]),))
    assert "no intervals, because resampling fewer than 5 patients" in method(replace(compared, reference=few))


def test_intervals_of_regions_and_levels_are_counted_too(compared: Comparison) -> None:
    # 2 configurations of 7 numbers a metric and 3 of regions, and 3 of the finer level
    intervals = 2 * (7 * len(METRICS) + 3) + 3 * len(METRICS)
    assert find(compared, "dice")["intervals"] == intervals
    assert f"This page holds {intervals} intervals" in said(compared)
    assert "about one in twenty would still leave out zero" in said(compared)
    alone = replace(compared, configurations=(compared.reference,))
    assert f"This page holds {len(METRICS)} intervals" in said(alone)
    bare = without_differences(compared, *(c.label for c in compared.configurations))
    assert "This page holds" not in said(replace(alone, numbers=bare))


def test_shared_seeds_are_cautioned_about_not_those_of_a_side(compared: Comparison) -> None:
    assert "3 seeds, each with itself" in said(compared)
    assert "too narrow" in said(compared)
    reference, same, worse = compared.configurations
    one = replace(same, seeds_compared=1)
    assert len(one.outcomes) == 3
    text = said(replace(compared, configurations=(reference, one, worse)))
    assert "says nothing of what another seed would change" in text


def test_a_reference_tested_on_different_mosaics_is_cautioned_about(compared: Comparison) -> None:
    odd = replace(compared.reference, remark="its jobs differ")
    assert "The reference, model.levels=3: its jobs differ." in said(replace(compared, reference=odd))


def test_seeds_are_described(compared: Comparison) -> None:
    a, b = compared.configurations[0].outcomes, compared.configurations[1].outcomes
    assert describe_seeds(a, b) == "3 seeds, each with itself"
    assert describe_seeds(a[:1], b) == "one seed, which is not drawn"
    assert describe_seeds(a[:1], b[1:]) == "seeds 0 against 1, 2"
