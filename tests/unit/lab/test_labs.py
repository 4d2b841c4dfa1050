"""The table of labs, and what the lab reads of the machine that it runs on."""

from __future__ import annotations

import pytest

from lab.common import LABS, LabError, archive_among, find_lab


def test_services_and_hosts_have_the_addresses_that_the_inventory_expects() -> None:
    """inventories/lab/hosts.yml counts on .11 for the hub and .12 and so on for the others."""
    lab = find_lab("bench")
    assert {name: lab.address(name) for name in ("services", *lab.hosts)} == {
        "services": "10.213.3.10", "hub": "10.213.3.11", "app1": "10.213.3.12", "app2": "10.213.3.13", "app3": "10.213.3.14",
        "app4": "10.213.3.15",
    }


def test_the_second_network_lies_beside_the_first() -> None:
    """molecule/cluster/inventory/group_vars counts on the same numbers behind 127 instead of 10."""
    lab = find_lab("cluster")
    assert [(lab.address(name), lab.second_address(name)) for name in ("es1", "es4")] == [
        ("10.213.4.11", "127.213.4.11"), ("10.213.4.14", "127.213.4.14"),
    ]


def test_labs_do_not_get_in_each_others_way() -> None:
    """Each has a network and container names of its own, so that they can be up at the same time."""
    assert len({lab.network for lab in LABS.values()}) == len(LABS)
    assert len({lab.container(host) for lab in LABS.values() for host in lab.hosts}) == sum(len(lab.hosts) for lab in LABS.values())


def test_an_unknown_lab_is_refused_with_the_names_there_are() -> None:
    """The message lists what can be said instead."""
    with pytest.raises(LabError) as error:
        find_lab("dmeo")
    assert str(error.value) == f"there is no lab 'dmeo'. There are: {', '.join(LABS)}"


@pytest.mark.parametrize(
    "targets",
    [
        "https://apt.example.org/tools|Tools|main\nhttps://mirror.example.org/proxy/|Debian|main\n",
        "https://apt.example.org/tools|$(LABEL)|main\nhttps://mirror.example.org/proxy/debian/|$(LABEL)|main\n",
        "https://mirror.example.org/debian-security|Debian-Security|main\nhttps://mirror.example.org/x|Debian|contrib\n"
        "https://mirror.example.org/debian|Debian|main\n",
    ],
    ids=["a mirror of any path, by its label", "lists not fetched yet, by its path", "neither security nor contrib"],
)
def test_debians_archive_is_found_among_other_sources(targets: str) -> None:
    """Whatever mirror the machine uses, the lab uses it too."""
    assert archive_among(targets) in {"https://mirror.example.org/proxy", "https://mirror.example.org/proxy/debian", "https://mirror.example.org/debian"}


def test_a_machine_without_debians_archive_is_told_what_to_add() -> None:
    """Another publisher's source does not do."""
    with pytest.raises(LabError) as error:
        archive_among("https://apt.example.org/tools|Tools|main\n")
    assert str(error.value) == "no Debian archive in this machine's apt sources. Add one to /etc/apt/sources.list.d, run apt-get update"
