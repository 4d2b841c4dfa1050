"""Hands events from one pipeline to another by address."""

import threading


class Bus:
    """Which input listens at which address."""

    def __init__(self):
        self._changed = threading.Condition()
        self._inputs = {}

    def listen(self, address, receive):
        """Let an input take what is sent to an address; returns whether the address was free."""
        with self._changed:
            if address in self._inputs:
                return False
            self._inputs[address] = receive
            self._changed.notify_all()
            return True

    def unlisten(self, address, receive):
        with self._changed:
            if self._inputs.get(address) == receive:
                del self._inputs[address]

    def receiver(self, address, waiting):
        """Return the input of an address; waits for one, calling `waiting` every second, which may raise."""
        with self._changed:
            while address not in self._inputs:
                self._changed.wait(1.0)
                waiting()
            return self._inputs[address]
