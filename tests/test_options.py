"""Options: checked once, unknown names answered with the nearest."""

from __future__ import annotations

import dataclasses

import pytest

from yue.errors import OptionError
from yue.options import ComposeOptions, LoadOptions, Options, RefineOptions, RenderOptions

GROUPS = [ComposeOptions, RefineOptions, RenderOptions, LoadOptions]


@pytest.mark.parametrize("group", GROUPS)
def test_defaults_are_valid_and_described(group: type[Options]) -> None:
    options = group()
    for field in dataclasses.fields(options):
        assert field.metadata["help"].endswith((".", "..."))
    assert group.make(options.as_dict()) == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", 1.5), ("top_k", 0), ("top_k", 2.5), ("temperature", 0), ("seed", -1),
        ("temperature", float("nan")), ("scores", "loud"), ("takes", True), ("takes", "two"),
    ],
)
def test_out_of_range_says_the_value_and_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=rf"{name} = .*allowed"):
        ComposeOptions(**{name: value})


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'top_k'"):
        ComposeOptions.make(topk=5)
    with pytest.raises(OptionError, match="known are"):
        RenderOptions.make({"zzz": 1})


def test_flags_and_devices_are_checked() -> None:
    with pytest.raises(OptionError, match="true and false"):
        LoadOptions(exact="yes")
    with pytest.raises(OptionError, match="device"):
        LoadOptions(device="")


def test_replace_checks_anew() -> None:
    with pytest.raises(OptionError):
        ComposeOptions().replace(top_p=-1)
    assert ComposeOptions().replace(top_p=0.5).top_p == 0.5


def test_guidance_is_stronger_in_the_first_section() -> None:
    options = ComposeOptions()
    assert [options.guidance_at(i) for i in range(3)] == [1.5, 1.2, 1.2]
