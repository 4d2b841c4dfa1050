"""The queues: order, limits, and what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from logstash import dlq
from logstash.diskqueue import DiskQueue
from logstash.errors import ConfigurationError
from logstash.event import Event
from logstash.queues import Closed, MemoryQueue
from logstash_fakes import HOME, make_settings, wait_for


def numbered(*numbers: int) -> list[Event]:
    return [Event({"@timestamp": "2026-11-24T10:00:00.000Z", "n": number}, {"m": number}) for number in numbers]


def disk(tmp_path: Path, **values: object) -> DiskQueue:
    return DiskQueue(str(tmp_path / "queue"), make_settings(tmp_path, **values))


def numbers(batch) -> list[int]:
    return [event.data["n"] for event in batch.events]


def test_memory_holds_what_workers_take_at_once():
    """A writer waits; a read makes room."""
    queue = MemoryQueue(3)
    queue.write(numbered(1, 2, 3))
    waits = []

    def waiting():
        waits.append(1)
        assert numbers(queue.read(2, 0)) == [1, 2]

    queue.write(numbered(4), waiting)
    assert (waits, numbers(queue.read(5, 0))) == ([1], [3, 4])


def test_a_closed_queue_says_how_much_it_took():
    """So that nothing is sent twice or lost."""
    queue = MemoryQueue(2)

    def waiting():
        queue.close()

    with pytest.raises(Closed) as error:
        queue.write(numbered(1, 2, 3), waiting)
    assert error.value.taken == 2


def test_disk_hands_out_in_order_and_forgets_what_is_acknowledged(tmp_path):
    """Events come back with their metadata, also from the file."""
    queue = disk(tmp_path)
    queue.write(numbered(*range(600)))
    first = queue.read(500, 0)
    assert numbers(first) == list(range(500))
    queue.ack(first)
    queue.delete()
    queue = disk(tmp_path)
    batch = queue.read(1000, 0)
    # 500 is the end of a record of 250 events.
    assert numbers(batch) == list(range(500, 600))
    assert (batch.events[0].metadata, type(batch.events[0].data["@timestamp"]).__name__) == ({"m": 500}, "Timestamp")
    queue.delete()


def test_what_is_not_acknowledged_comes_again(tmp_path):
    """At least once, from the record's beginning."""
    queue = disk(tmp_path)
    queue.write(numbered(1, 2, 3))
    queue.ack(queue.read(1, 0))
    queue.delete()
    queue = disk(tmp_path)
    assert numbers(queue.read(9, 0)) == [1, 2, 3]
    queue.delete()


def test_pages_go_when_they_are_done_with(tmp_path):
    """And the size is theirs."""
    queue = disk(tmp_path, queue__page_capacity="4kb", queue__max_bytes="1mb")
    for number in range(50):
        queue.write([Event({"n": number, "text": "x" * 500})])
    assert len(list((tmp_path / "queue").glob("page.*"))) > 5
    assert 25_000 < queue.stats()["queue_size_in_bytes"] < 40_000
    queue.ack(queue.read(50, 0))
    assert len(list((tmp_path / "queue").glob("page.*"))) == 1
    assert queue.stats()["queue_size_in_bytes"] <= 4096
    assert queue.stats()["events_count"] == 0
    queue.delete()


def test_a_full_queue_lets_writers_wait(tmp_path):
    """Until something is acknowledged, not only read."""
    queue = disk(tmp_path, queue__page_capacity="2kb", queue__max_bytes="4kb")
    event = [Event({"n": 1, "text": "x" * 1000})]
    for _ in range(3):
        queue.write(event)
    written = threading.Event()
    thread = threading.Thread(target=lambda: (queue.write(event), written.set()), daemon=True)
    thread.start()
    batch = queue.read(2, 0)
    assert not written.wait(0.3)
    queue.ack(batch)
    assert written.wait(2)
    queue.delete()


def test_a_record_that_is_half_written_is_cut_off(tmp_path, quiet):
    """What a crash of the host may leave."""
    queue = disk(tmp_path)
    queue.write(numbered(1))
    queue.write(numbered(2))
    queue.delete()
    page = tmp_path / "queue" / "page.0"
    page.write_bytes(page.read_bytes()[:-3])
    queue = disk(tmp_path)
    assert numbers(queue.read(9, 0)) == [1]
    queue.write(numbered(3))
    assert numbers(queue.read(9, 0)) == [3]
    queue.delete()
    assert "is not whole and is cut off" in quiet.getvalue()


def test_two_programs_do_not_share_a_queue(tmp_path):
    """The second is refused."""
    queue = disk(tmp_path)
    with pytest.raises(ConfigurationError, match="Lock held by another program"):
        disk(tmp_path)
    queue.delete()


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from logstash.diskqueue import DiskQueue
from logstash.event import Event
from logstash.settings import Settings
settings = Settings()
settings.set("queue.page_capacity", "64kb")
queue = DiskQueue(sys.argv[2], settings)
number = int(sys.argv[3])
while True:
    queue.write([Event({"n": number + more, "text": "x" * 200}) for more in range(7)])
    number += 7
    print(number, flush=True)
    batch = queue.read(5, 0)
    for event in batch.events:
        print("taken", event.data["n"], flush=True)
    queue.ack(batch)
"""


def test_a_kill_loses_nothing_that_was_taken_in(tmp_path):
    """Killed three times in the middle of writing: every number that was taken in was handed out or is still there."""
    folder, handed, number = tmp_path / "queue", set(), 0
    for _round in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(HOME / "lib"), str(folder), str(number)], stdout=subprocess.PIPE, text=True)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if len(lines) > 4000:
                process.send_signal(signal.SIGKILL)
                break
        lines += process.stdout.readlines()
        process.wait()
        if not lines[-1].endswith("\n"):
            lines.pop()
        handed |= {int(line.split()[1]) for line in lines if line.startswith("taken")}
        number = max(int(line) for line in lines if not line.startswith("taken"))
    queue = DiskQueue(str(folder), make_settings(tmp_path, queue__page_capacity="64kb"))
    left = {event.data["n"] for event in queue.read(10**6, 0).events}
    queue.delete()
    assert number > 2000
    assert set(range(number)) <= handed | left


# The dead letter queue


def writer(tmp_path, **values: object) -> dlq.Writer:
    return dlq.Writer(str(tmp_path / "dlq"), make_settings(tmp_path, **values))


def read_all(tmp_path) -> list[dict]:
    return [entry for _number, path, _size in dlq.segments(str(tmp_path / "dlq")) for entry, _offset in dlq.entries(path, 0)]


def test_dead_letters_are_readable_when_their_segment_is_finished(tmp_path):
    """After the flush interval, with the reason."""
    letters = writer(tmp_path, dead_letter_queue__flush_interval=100, dead_letter_queue__flush_check_interval=50)
    letters.write(Event({"n": 1, "@timestamp": "2026-11-24T10:00:00.000Z"}, {"m": 2}), "elasticsearch", "out", "status: 400")
    assert read_all(tmp_path) == []
    wait_for(lambda: read_all(tmp_path), 3)
    entry, = read_all(tmp_path)
    assert (entry["plugin_type"], entry["plugin_id"], entry["reason"], entry["event"].data["n"], entry["event"].metadata) == (
        "elasticsearch", "out", "status: 400", 1, {"m": 2},
    )
    letters.close()


def test_a_dead_letter_does_not_come_back(tmp_path, quiet):
    """What was read from a dead letter queue is not written into one again."""
    letters = writer(tmp_path)
    letters.write(Event({}, {"dead_letter_queue": {}}), "t", "i", "r")
    assert letters.size() == 0
    letters.close()
    assert "Event previously submitted to dead letter queue. Skipping..." in quiet.getvalue()


@pytest.mark.parametrize("policy, kept", [("drop_newer", [0, 1, 2]), ("drop_older", [3, 4])])
def test_dead_letters_have_a_limit(tmp_path, quiet, policy, kept, monkeypatch):
    """Newer ones are dropped, or older segments make room."""
    monkeypatch.setattr(dlq, "SEGMENT_BYTES", 1500)
    letters = writer(tmp_path, dead_letter_queue__max_bytes=3800, dead_letter_queue__storage_policy=policy)
    for number in range(5):
        letters.write(Event({"n": number, "text": "x" * 900}), "t", "i", "r")
    letters.close()
    found = [entry["event"].data["n"] for entry in read_all(tmp_path)]
    assert found[-len(kept):] == kept
    assert letters.stats()["dropped_events"] == 5 - len(found) > 0
    assert "reached maxQueueSize of 3800" in letters.stats()["last_error"]


def test_dead_letters_grow_old(tmp_path):
    """retain.age takes whole segments."""
    letters = writer(tmp_path, dead_letter_queue__retain__age="1h", dead_letter_queue__flush_interval=10, dead_letter_queue__flush_check_interval=10)
    letters.write(Event({"n": 1}), "t", "i", "r")
    wait_for(lambda: read_all(tmp_path), 3)
    old = time.time() - 7200
    os.utime(dlq.segments(str(tmp_path / "dlq"))[0][1], (old, old))
    wait_for(lambda: not read_all(tmp_path), 3)
    assert letters.stats()["expired_events"] == 1
    letters.close()


def test_an_unfinished_segment_is_taken_over_after_a_kill(tmp_path):
    """Its whole entries are readable."""
    letters = writer(tmp_path)
    letters.write(Event({"n": 1}), "t", "i", "r")
    path = tmp_path / "dlq" / "1.log.tmp"
    left = path.read_bytes()
    letters.close()
    (tmp_path / "dlq" / "1.log").unlink()
    path.write_bytes(left + b"\0\0\0\x09half")
    writer(tmp_path).close()
    assert [entry["event"].data["n"] for entry in read_all(tmp_path)] == [1]


def test_events_are_kept_as_json(tmp_path):
    """The file can be read by eye."""
    queue = disk(tmp_path)
    queue.write([Event({"text": "é\ud83d"}, {})])
    data = (tmp_path / "queue" / "page.0").read_bytes()[12:]
    assert json.loads(data) == [[{"text": "é\ud83d"}, {}]]
    queue.delete()
