"""The player of transcripts itself."""

from pathlib import Path

import pytest

from tests.datadriven import Command, run

TRANSCRIPT = "# Sums.\n\nadd 1 2\n----\n3\n\nadd 4 5 times=2\n----\n18\n"


def add(command: Command) -> str:
    assert command.name == "add"
    return str(sum(map(int, command.words)) * command.value("times", 1))


def test_transcript_with_right_answers_passes(tmp_path: Path) -> None:
    path = tmp_path / "sums.txt"
    path.write_text(TRANSCRIPT)
    run(path, add, rewrite=False)
    assert path.read_text() == TRANSCRIPT


def test_wrong_answer_fails_and_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sums.txt"
    path.write_text(TRANSCRIPT.replace("18", "19"))
    with pytest.raises(AssertionError, match=r"sums.txt:7: add 4 5 times=2"):
        run(path, add, rewrite=False)


def test_rewrite_makes_the_answers_right_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "sums.txt"
    path.write_text(TRANSCRIPT.replace("18", "19\n20").replace("3\n", ""))
    run(path, add, rewrite=True)
    assert path.read_text() == TRANSCRIPT


@pytest.mark.parametrize("text", ["add 1 2\n", "add 1 2\n3\n"])
def test_command_without_an_answer_is_a_mistake_in_the_transcript(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sums.txt"
    path.write_text(text)
    with pytest.raises(AssertionError, match="has no ----"):
        run(path, add, rewrite=False)
