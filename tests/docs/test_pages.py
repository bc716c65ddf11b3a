"""The pages that show a terminal show what the commands print now."""

import pytest
from screen import COLUMNS, run_in_terminal, screen


@pytest.fixture(scope="module")
def walkthrough(docs_script):
    return docs_script("walkthrough")


def test_the_pages_show_what_the_commands_print(walkthrough):
    # The pages were filled from tmux; here the same comes without it, so CI needs none.
    environment = walkthrough.environment() | {"TERM": "xterm"}
    status = 0
    with walkthrough.new_folder() as folder:

        def run(command):
            nonlocal status
            shell = ["bash", "-c", f"(exit {status}); {command}"]
            status, written = run_in_terminal(shell, folder, environment)
            return screen(f"$ {command}\r\n{written}").split("\n")

        for path in walkthrough.PAGES:
            page = path.read_text(encoding="utf-8")
            again = walkthrough.filled(page, run)
            assert walkthrough.normalised(again) == walkthrough.normalised(page), (
                f"docs/{path.name} is out of date: run 'make transcript' and look at the changes"
            )


def test_all_commands_are_shown(walkthrough):
    from cli.main import main

    shown = {
        word
        for page in walkthrough.PAGES
        for command in walkthrough.commands_of(page.read_text(encoding="utf-8"))
        for word in command.split()
    }
    assert set(main.list_commands(None)) <= shown


def test_a_command_that_would_be_cut_in_two_is_refused(walkthrough):
    with pytest.raises(ValueError, match="expected a command in one line of 80 columns"):
        walkthrough.commands_of(f"```console\n$ {'x' * COLUMNS}\n```\n")


@pytest.mark.parametrize(
    "line",
    [
        "$ embed match --candidates ids.txt photos\nphoto  item  confidence\nphotos/a.jpg  sku-1",
        "items.index: 8 items, 73 photos (1 embedded now)",
        "items.model: epoch 8 of 8, 100.0% right of 10, 100.0% of 8 items",
        "Error: catalog: expected a folder",
        "missing (in no photo): sku-000004",
    ],
)
def test_no_more_is_taken_for_varying_than_numbers(line, walkthrough):
    """Each word and each id of what commands say counts: another one is seen."""
    words = [word for word in line.split() if word.strip("$-+.%,0123456789")]
    for word in words:
        other = line.replace(word, f"{word}x", 1)
        assert walkthrough.normalised(other) != walkthrough.normalised(line)


def test_a_screen_shows_what_terminals_do():
    assert screen("ab\rc") == "cb"
    assert screen("x" * 81) == "x" * 80 + "\nx"
    assert screen("x" * 80 + "\r\ny") == "x" * 80 + "\ny"
    with pytest.raises(AssertionError, match="not known"):
        screen("\x1b[2J")
