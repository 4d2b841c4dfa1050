"""What the gateway's session cookies hold. No Ansible here."""

from __future__ import annotations

import hashlib
import hmac


def session(user: str, password_hash: str, key: str) -> str:
    """Return the value of a user's cookie, 64 hex digits: another password, or another key, makes another one."""
    # Neither a user's name nor a hash has a line break, so no two pairs give one message.
    return hmac.new(key.encode(), f"{user}\n{password_hash}".encode(), hashlib.sha256).hexdigest()
