from dataclasses import replace

from rcm_cascade.sweeps.comparison import Comparison
from rcm_cascade.sweeps.findings import counted, find, interval_text, method, signed
from rcm_cascade.sweeps.paired import Difference
from rcm_cascade.sweeps.results import ConfigurationResult


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
    assert any("42 intervals" in c for c in found.cautions)
    assert any("3 seeds, each with itself" in c and "too narrow" in c for c in found.cautions)
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
    found = find(with_means(compared, Difference(0.3, None), Difference(None, None)), "dice")
    assert found.told == found.untold == ()
    assert found.unmeasured[0].startswith("model.levels=2: +0.300, without an interval, because 7 patients")
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
    assert any("says nothing of what another seed would change" in c for c in found.cautions)
    alone = find(replace(compared, configurations=(reference,)), "dice")
    assert "there is nothing to compare" in alone.opening
    assert alone.classes == ""
    assert alone.cautions == ()


def test_the_method_says_how_many_were_drawn(compared: Comparison) -> None:
    assert "percentiles of 2000 resamples, in each of which the 7 patients are drawn" in method(compared)
    first = compared.reference.outcomes[0]
    few = replace(compared.reference, outcomes=(replace(first, mosaics=first.mosaics[:4]),))
    assert "no intervals, because resampling fewer than 5 patients" in method(replace(compared, reference=few))


def test_numbers_are_written_with_a_true_minus() -> None:
    assert signed(-0.0514) == "−0.051"
    assert signed(0.2, 1) == "+0.2"
    assert signed(None) == "–"
    assert (signed(0.0), signed(-0.0001)) == ("0.000", "−0.000")
    assert interval_text(Difference(0.1, (-0.1, 0.25))) == "−0.100 to +0.250"
    assert interval_text(Difference(0.1, None)) == ""
    assert (counted(1, "seed"), counted(0, "seed"), counted(2, "seed")) == ("1 seed", "0 seeds", "2 seeds")
