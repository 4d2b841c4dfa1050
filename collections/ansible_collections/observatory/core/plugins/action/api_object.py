"""Checks the options on the controller and has the host speak to the product; see the module."""

from __future__ import annotations

from ansible_collections.observatory.core.plugins.module_utils.api_object import SPEC
from ansible_collections.observatory.core.plugins.plugin_utils.lean import LeanAction


class ActionModule(LeanAction):
    """One round trip a product."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec=SPEC, required_together=[("user", "password")], required_by={"key": ["cert"]}
        )
        result.update(self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars))
        return result
