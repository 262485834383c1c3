"""The text form of a sequencer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpy.recipes import BadSequencer, Mode, Sequencer

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


def test_the_text_form_is_as_it_has_always_been() -> None:
    sequencer = Sequencer("/locks/payments", Mode.EXCLUSIVE, 8589934612, "_c_6f9c-lock-0000000007")
    text = "zkpy1:exclusive:8589934612:_c_6f9c-lock-0000000007:/locks/payments"
    assert str(sequencer) == text
    assert Sequencer.parse(text) == sequencer
    assert Sequencer.parse(f" {text}\n") == sequencer
    assert sequencer.node_path == "/locks/payments/_c_6f9c-lock-0000000007"


@given(
    TEXT, TEXT.map(lambda name: name.replace("/", "")).filter(bool), st.sampled_from(Mode), st.integers(1, 2**63 - 1)
)
def test_any_path_survives_its_text_form(path: str, node: str, mode: Mode, token: int) -> None:
    sequencer = Sequencer("/" + path, mode, token, node)
    text = str(sequencer)
    assert text.isascii()
    assert not any(character.isspace() for character in text)
    assert Sequencer.parse(text) == sequencer


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not a sequencer"),
        ("/locks/payments", "not a sequencer"),
        ("zkpy2:exclusive:5:node:/lock", "not a sequencer"),
        ("zkpy1:exclusive:-5:node:/lock", "not a sequencer"),
        ("zkpy1:exclusive:0:node:/lock", "not a sequencer"),
        ("zkpy1:exclusive:5:node:lock", "not a sequencer"),
        ("zkpy1:exclusive:5::/lock", "not a sequencer"),
        ("zkpy1:exclusive:5:node:/lo ck", "not a sequencer"),
        ("zkpy1:exclusive:5:node:/lock\nzkpy1:exclusive:5:node:/lock", "not a sequencer"),
        ("zkpy1:upside:5:node:/lock", "no such mode: 'upside'"),
        (f"zkpy1:exclusive:{2**63}:node:/lock", "more than 63 bits"),
        ("zkpy1:exclusive:5:node:/%ff", "not UTF-8"),
    ],
)
def test_what_is_no_sequencer_is_refused_with_the_reason(text: str, fault: str) -> None:
    with pytest.raises(BadSequencer, match=fault):
        Sequencer.parse(text)
