from __future__ import annotations

from kaixu.config.mistakes import ConfigError, Mistake, Place, did_you_mean, nearest


def test_mistake_prints_as_editors_and_terminals_link_it() -> None:
    assert str(Mistake("kaixu.yaml", 4, 5, "`optoins` is not a field")) == "kaixu.yaml:4:5: `optoins` is not a field"


def test_error_holds_every_mistake_once_and_in_the_order_of_the_file() -> None:
    late, early = Mistake("a", 9, 1, "late"), Mistake.at(Place("a", 2, 7), "early")
    error = ConfigError([late, early, late])
    assert error.mistakes == [early, late]
    assert str(error) == "a:2:7: early\na:9:1: late"


def test_nearest_name_is_found_in_any_case_and_only_when_it_is_near() -> None:
    assert nearest("OPTOINS", ["options", "plugin"]) == "options"
    assert nearest("zebra", ["options", "plugin"]) is None
    assert did_you_mean("optoins", ["options"]) == "; did you mean `options`?"
    assert did_you_mean("zebra", ["options"]) == ""
