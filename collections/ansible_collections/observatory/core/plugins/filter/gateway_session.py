"""Works out the cookie that the gateway gives to who has signed in."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_session
short_description: The value of a user's session cookie
version_added: "1.0.0"
description:
  - HMAC-SHA256 of the user and the hash of the password. nginx compares it and cannot work it out, so it is rendered into its configuration, which
    the gateway alone can read. A new password, or a new key, ends the sessions.
author: Observatory contributors
positional: _input
options:
  _input:
    description: The user's name.
    type: str
    required: true
  password_hash:
    description: The hash of the user's password.
    type: str
    required: true
  key:
    description: The site's session key.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the cookie of a user
  ansible.builtin.debug:
    msg: "{{ 'viewer' | observatory.core.gateway_session(gateway_password_hash_viewer, gateway_session_key) }}"
"""

RETURN = r"""
_value:
  description: 64 hex digits.
  type: str
"""

from ansible_collections.observatory.core.plugins.plugin_utils.sessions import session


class FilterModule:
    def filters(self):
        return {"gateway_session": lambda user, password_hash, key: session(str(user), str(password_hash), str(key))}
