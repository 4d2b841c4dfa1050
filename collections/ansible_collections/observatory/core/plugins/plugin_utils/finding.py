"""One problem of an inventory or a host, and the message that reports all of them. No Ansible here."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem. `text` is a sentence; the rest is shown below it where it is known."""

    text: str
    variable: str = ""
    """Path of the variable as an operator writes it: observatory_services.shop.metrics.port"""
    where: str = ""
    """File and line that set it, or how else it came in."""
    given: str = ""
    """The value as shown; empty when there is none, never a secret."""
    hint: str = ""
    """The next action: the nearest valid name, a command, an example."""
    hosts: tuple[str, ...] = ()
    """The hosts that it concerns; empty: the inventory as a whole."""

    def as_dict(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "hosts": list(self.hosts)}

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Finding:
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in data.items() if name in names}
        return cls(**{**values, "hosts": tuple(values.get("hosts") or ())})

    def lines(self, all_hosts: t.Collection[str] = ()) -> list[str]:
        """Return at most four lines. Hosts are left out when the finding concerns all that were looked at."""
        below = []
        origin = [f"set in {self.where}" if self.where else "", f"given: {self.given}" if self.given else ""]
        if any(origin):
            below.append("; ".join(part for part in origin if part))
        if self.hint:
            below.append(self.hint)
        if self.hosts and set(self.hosts) != set(all_hosts):
            below.append("on " + ", ".join(self.hosts))
        return [self.text, *("  " + line for line in below)]


def merge(findings: t.Iterable[Finding]) -> list[Finding]:
    """Return the findings, those that differ by host alone made one, in the order of their first appearance."""
    merged: dict[Finding, list[str]] = {}
    for finding in findings:
        hosts = merged.setdefault(dataclasses.replace(finding, hosts=()), [])
        hosts.extend(host for host in finding.hosts if host not in hosts)
    return [dataclasses.replace(finding, hosts=tuple(hosts)) for finding, hosts in merged.items()]


def report(findings: t.Sequence[Finding], hosts: t.Collection[str] = ()) -> str:
    """Return the message of a run: a headline, then each finding's lines."""
    found = merge(findings)
    headline = f"{len(found)} problem{'' if len(found) == 1 else 's'}, nothing was changed"
    return "\n".join([headline, *(line for finding in found for line in finding.lines(hosts))])
