from dataclasses import replace

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.findings import find, interval_text, signed
from rcm_cascade.report.results import ConfigurationResult


def with_means(comparison: Comparison, *means: Difference) -> Comparison:
    """The same with other differences of the mean, of both configurations that are compared."""
    results = iter(means)

    def changed(result: ConfigurationResult) -> ConfigurationResult:
        if result is comparison.reference:
            return result
        difference = next(results)
        return replace(result, differences={m: (*d[:-1], difference) for m, d in result.differences.items()})

    configurations = tuple(changed(c) for c in comparison.configurations)
    return replace(comparison, configurations=configurations)


def with_seeds(comparison: Comparison, seeds: int) -> Comparison:
    """The same, as if so many seeds were compared."""
    configurations = tuple(
        c if c is comparison.reference else replace(c, seeds_compared=seeds) for c in comparison.configurations
    )
    return replace(comparison, configurations=configurations)


def test_the_worse_one_is_told_and_the_equal_one_is_not(compared: Comparison) -> None:
    found = find(compared, "sensitivity")
    assert "9 jobs with a result make 3 configurations, tested on 8 test mosaics of 7 patients" in found.opening
    assert "the reference, model.levels=3, by the mean sensitivity" in found.opening
    (told,) = found.told
    (untold,) = found.untold
    assert told.startswith("model.levels=1: −0.1")
    assert "95 % interval −0." in told
    assert untold.startswith("model.levels=2: ")
    assert found.unmeasured == ()
    assert "are told from zero, largest first: " in found.classes
    assert found.classes.count(" in model.levels=1 (−") == 6
    assert found.networks == ()
    assert "by the mean Dice" in find(compared, "dice").opening


def test_the_largest_comes_first(compared: Comparison) -> None:
    small, large = Difference(0.01, (0.005, 0.02)), Difference(-0.2, (-0.3, -0.1))
    for pair in ((small, large), (large, small)):
        told = find(with_means(compared, *pair), "dice").told
        assert [sentence.split(": ")[1].split(" ")[0] for sentence in told] == ["−0.200", "+0.010"]
    none = Difference(0.3, (-0.1, 0.7)), Difference(-0.4, (-0.9, 0.0))
    found = find(with_means(compared, *none), "dice")
    assert found.told == ()
    assert [sentence.split(":")[0] for sentence in found.untold] == ["model.levels=1", "model.levels=2"]


def test_without_an_interval_nothing_is_told(compared: Comparison) -> None:
    found = find(with_means(compared, Difference(0.3, None, 3), Difference(None, None)), "dice")
    assert found.told == found.untold == ()
    assert found.unmeasured[0] == "model.levels=2: +0.300, without an interval, because 3 patients are fewer than 5"
    assert found.unmeasured[1] == "model.levels=1: the difference is not defined"


def test_what_is_missing_is_said(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    fewer = replace(same, outcomes=same.outcomes[:1])
    other = replace(worse, differences={}, remark="other classes than the reference's")
    found = find(replace(compared, configurations=(reference, fewer, other), missing=("model.levels=4",)), "dice")
    assert found.unmeasured == (
        "model.levels=1: not compared, because other classes than the reference's",
        "model.levels=4: no finished job",
    )
    assert "model.levels=2 has 1 seed with a result, of 3." in found.cautions
    alone = find(replace(compared, configurations=(reference,)), "dice")
    assert "there is nothing to compare" in alone.opening
    assert alone.classes == ""


def test_with_one_seed_networks_are_compared_not_configurations(compared: Comparison) -> None:
    means = with_means(compared, Difference(0.01, (-0.01, 0.03)), Difference(-0.2, (-0.3, -0.1)))
    found = find(with_seeds(means, 1), "dice")
    assert found.told == found.untold == found.unmeasured == ()
    assert found.networks == (
        "model.levels=1: −0.200 (95 % interval −0.300 to −0.100), told from zero",
        "model.levels=2: +0.010 (95 % interval −0.010 to +0.030), not told from zero by these data",
    )
    assert found.classes.endswith("Those of model.levels=2, model.levels=1 are between two trained networks only.")
    assert "two trained networks" not in find(compared, "dice").classes


def test_numbers_are_written_with_a_true_minus() -> None:
    assert signed(-0.0514) == "−0.051"
    assert signed(0.2, 1) == "+0.2"
    assert signed(None) == "–"
    assert (signed(0.0), signed(-0.0001)) == ("0.000", "−0.000")
    assert interval_text(Difference(0.1, (-0.1, 0.25))) == "−0.100 to +0.250"
    assert interval_text(Difference(0.1, None)) == ""
