"""Checks of what a site keeps in files of its own: rule files and scrape files beside its inventory. No Ansible here."""

from __future__ import annotations

import pathlib
import re
import typing as t

from .arguments import Finding, Path, nearest

SCRAPE_FOLDER = "scrape.d"
SCRAPE_KEY = "scrape_configs"


class Problem(t.Protocol):
    """A mistake in a file (path and line), or in a variable (its dotted path, and no line)."""

    path: str
    line: int
    message: str


def from_problems(problems: t.Iterable[Problem], where: t.Callable[[Path], str]) -> list[Finding]:
    """Return the mistakes that the reader of rule files found as findings."""
    found = []
    for problem in problems:
        text, hint = _split(problem.message)
        if problem.line or "/" in problem.path:
            place = f"{problem.path}:{problem.line}" if problem.line else problem.path
            found.append(Finding(_sentence(text), "", place, "", hint))
        else:
            path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", problem.path))
            found.append(Finding(f"{problem.path}: {text}", problem.path, where(path), "", hint))
    return found


def _split(message: str) -> tuple[str, str]:
    """Take a "Did you mean" off the end of a message."""
    text, mark, rest = message.partition(" Did you mean ")
    return (text.rstrip("."), f"did you mean {rest.strip(chr(34) + '?')}?") if mark else (message.rstrip("."), "")


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:]


def check_scrape_files(inventory: str | pathlib.Path, show: t.Callable[[str], str] = str) -> list[Finding]:
    """Return what is wrong with the form of a site's scrape files; their contents are for Prometheus' own checker."""
    found = []
    for file in sorted(pathlib.Path(inventory, SCRAPE_FOLDER).glob("*.y*ml")):
        finding = _check_scrape_file(file, show(str(file)))
        found += [finding] if finding else []
    return found


def _check_scrape_file(file: pathlib.Path, shown: str) -> Finding | None:
    import yaml  # late: few sites have such files

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Finding("A scrape file is not YAML", "", f"{shown}:{mark.line + 1 if mark else 1}", "", str(error.problem or error.context))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return Finding("A scrape file is not YAML", "", shown, "", " ".join(str(error).split()))
    hint = f"it must hold {SCRAPE_KEY}: and a list of jobs"
    if not isinstance(data, dict):
        return Finding("A scrape file holds no jobs", "", f"{shown}:1", "", hint)
    for key in data:
        if key != SCRAPE_KEY:
            near = nearest(key, [SCRAPE_KEY])
            return Finding(f"A scrape file has the unknown key {key}", "", shown, "", f"did you mean {near}?" if near else hint)
    if not isinstance(data.get(SCRAPE_KEY), list):
        return Finding("A scrape file holds no jobs", "", f"{shown}:1", "", hint)
    return None
