"""Secrets are taken out of text; ordinary text is not touched; time grows with the text."""

import time

import pytest

from mesh.sharing.redaction import REDACTED, redact, secret_values

TOKENS = (
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a" * 36,
    "github_pat_" + "A1_" * 20,
    "glpat-" + "x" * 20,
    "sk-ant-api03-" + "q" * 40,
    "sk_live_" + "4" * 24,
    "xoxb-1234567890-abcdef",
    "AIza" + "b" * 35,
    "npm_" + "c" * 36,
    "pypi-" + "d" * 60,
    "hf_" + "e" * 34,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlLWhlcmU",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
)


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_of_known_shape_is_redacted(token):
    assert redact(f"before {token} after") == f"before {REDACTED} after"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdefghijklmnop1234==", f"Authorization: Bearer {REDACTED}"),
        ("https://user:pa55word@host/x", f"https://user:{REDACTED}@host/x"),
        ("+API_KEY=abcdefgh12", f"+API_KEY={REDACTED}"),
        ("export DB_PASSWORD='hunter2hunter2'", f"export DB_PASSWORD={REDACTED}"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", REDACTED),
    ],
)
def test_what_its_surroundings_call_secret_is_redacted(text, clean):
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "token = get_token(request)",
        "task-force",
        "sk-short",
        "https://host:8080/x@y",
        "def secret():",
    ],
)
def test_ordinary_text_is_not_touched(text):
    assert redact(text) == text


def test_known_values_are_redacted_longest_first_and_short_ones_not():
    text = "long-secret-value and long-secret and a1"
    clean = redact(text, ["long-secret", "long-secret-value", "a1"])
    assert clean == f"{REDACTED} and {REDACTED} and a1"


def test_the_environment_names_its_secrets():
    environ = {
        "GITHUB_TOKEN": "value-of-token",
        "MY_API_KEY": "value-of-key",
        "DB_PASSWORD": "short",
        "EDITOR": "value-of-editor",
    }
    assert secret_values(environ) == {"value-of-token", "value-of-key"}


UNITS = (
    "eyJ",
    "eyJ.",
    "-----BEGIN PRIVATE KEY-----",
    "://",
    "://a:",
    "Bearer ",
    "A_",
    "sk-",
    "x\n",
)


@pytest.mark.parametrize("unit", UNITS)
def test_a_quarter_megabyte_of_anything_is_quick(unit):
    started = time.perf_counter()
    redact(unit * (2**18 // len(unit)))
    assert time.perf_counter() - started < 2
