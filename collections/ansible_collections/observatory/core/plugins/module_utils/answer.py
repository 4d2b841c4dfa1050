"""What the modules have in common: a Host for this run, and failures as results."""

from __future__ import annotations

import os

from .host import Failure, Host, Steps


def host_of(module):
    """Return the Host that a module works on."""
    return Host(check=module.check_mode, steps=Steps.from_environment())


def answer(module, work):
    """Run `work(host)` -> result dict and end the module with it; a Failure becomes its message.

    `changed` of a failure says whether something has been done all the same.
    """
    host = host_of(module)
    try:
        result = work(host)
    except Failure as failure:
        module.fail_json(msg=str(failure), changed=failure.details.get("changed", False))
    except PermissionError as error:
        if os.geteuid() == 0:
            module.fail_json(msg=str(error))
        module.fail_json(msg="{0}: this needs root. Set become: true, and give the login user sudo rights".format(error))
    except OSError as error:
        module.fail_json(msg="{0}. What was begun is completed by the next run".format(error))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)
