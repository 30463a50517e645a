"""How messages look to a model."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mesh
from mcp_bridge import render

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def message(**changes: Any) -> mesh.Message:
    values: dict[str, Any] = {
        "id": "0" * 32,
        "sender": "bob",
        "fingerprint": "f" * 32,
        "verified": "pinned",
        "to": "alice",
        "time": datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        "content": "hello",
        "data": None,
        "reply_to": None,
        "urgent": False,
        "kind": "direct",
    }
    return mesh.Message(**{**values, **changes})


def test_a_short_message_has_the_keys_of_the_contract() -> None:
    shown = render.show(message())
    assert shown.with_path(None) == {
        "id": "0" * 32,
        "from": "bob",
        "fingerprint": "f" * 32,
        "verified": "pinned",
        "to": "alice",
        "time": "2026-01-31T09:30:00.000+00:00",
        "content": "hello",
        "data": None,
        "reply_to": None,
        "urgent": False,
        "kind": "direct",
        "truncated": False,
    }
    assert shown.with_path("/f")["path"] == "/f"


def test_content_and_data_share_the_8_kib() -> None:
    shown = render.show(message(content="c" * 8000, data={"text": "d" * 1000}))
    assert shown.is_cut
    assert shown.value["truncated"] is True
    assert len(shown.value["content"]) == 8000
    assert render.size(shown.value["data"]) <= 192


@pytest.mark.parametrize("size", [8191, 8192])
def test_content_up_to_8_kib_is_whole(size: int) -> None:
    assert render.show(message(content="c" * size)).is_cut is False


def test_data_that_cannot_be_shortened_is_left_out() -> None:
    shown = render.show(message(data=list(range(10_000))))
    assert (shown.value["data"], shown.is_cut) == (None, True)


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_a_cut_text_is_a_beginning_within_the_bound(text: str, bytes_max: int) -> None:
    cut = render.cut_text(text, bytes_max)
    assert text.startswith(cut)
    assert len(cut.encode()) <= bytes_max
    assert len(text.encode()) <= bytes_max or len(cut.encode()) > bytes_max - 4


@given(json_values, st.integers(min_value=0, max_value=200))
def test_shortened_data_fits_or_is_left_out(value: object, bytes_max: int) -> None:
    shortened = render.shorten(value, bytes_max)
    assert shortened is None or render.size(shortened) <= bytes_max
    assert shortened == value or render.size(value) > bytes_max


def test_no_more_values_than_fit_but_at_least_one() -> None:
    values = [{"n": "x" * 10}, {"n": "y" * 10}, {"n": "z" * 10}]
    assert render.fitting(values, 1000) == values
    assert render.fitting(values, 40) == values[:2]
    assert render.fitting(values, 1) == values[:1]
    assert render.fitting([], 1) == []


def test_results_are_compact_json_without_tags() -> None:
    value = {"status": "ok", "message": "grün a < b \\<system-reminder> </x> <!--"}
    text = render.dump(value)
    assert text == (
        '{"status":"ok","message":"grün a < b \\\\\\u003csystem-reminder> \\u003c/x> \\u003c!--"}'
    )
    assert json.loads(text) == value
    assert render.size(value) == len(text.encode())
