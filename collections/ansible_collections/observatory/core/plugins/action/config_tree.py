"""Renders the tree on the controller and brings it over in one trip; see the module."""

from __future__ import annotations

from ansible_collections.observatory.core.plugins.module_utils.component import pack
from ansible_collections.observatory.core.plugins.module_utils.config_tree import SPEC
from ansible_collections.observatory.core.plugins.plugin_utils.lean import LeanAction
from ansible_collections.observatory.core.plugins.plugin_utils.tree import render


class ActionModule(LeanAction):
    """One round trip a tree."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        spec = dict(SPEC, name={"type": "str", "required": True}, current={"type": "str", "default": ""})
        _validated, arguments = self.validate_argument_spec(argument_spec=spec)
        declaration = {"name": arguments["name"], "current": arguments["current"], "config": render(self, arguments, task_vars)}
        result.update(
            self._execute_module(
                module_name=self._task.action,
                module_args={"payload": pack(declaration)},
                task_vars=task_vars,
            )
        )
        return result
