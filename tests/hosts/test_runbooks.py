"""Every command of the runbooks that only looks, run as written on the hub by somebody who is on call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pages import blocks, follow, sources

# A pager's worth of commands at once: each waits more than it works.
AT_ONCE = 4


def test_every_command_that_looks_works_as_written():
    """With exit code 0, also while nothing is wrong, within twenty seconds."""
    todo = [(name, number, block) for name, text in sorted(sources().items()) for number, block in enumerate(blocks(text), 1)]
    wrong = []

    def run(entry):
        name, number, block = entry
        done = follow("hub", block)
        if done.returncode:
            wrong.append(f"{name}, block {number}: exit code {done.returncode}\n{block}{done.stdout[-600:]}{done.stderr[-600:]}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, todo))
    assert not wrong, f"{len(wrong)} of {len(todo)}:\n" + "\n\n".join(sorted(wrong))
    assert not set(sources()) - {name for name, _number, _block in todo}, "pages without a command to run"
