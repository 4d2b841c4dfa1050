"""Reports the findings of all hosts in one message, once; see the module of this name."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.observatory.core.plugins.plugin_utils.finding import Finding, merge, report


class ActionModule(ActionBase):
    BYPASS_HOST_LOOP = True
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(argument_spec={"register": {"type": "str", "required": True}})
        hosts = list(task_vars["ansible_play_hosts_all"])
        findings, silent = [], []
        for host in hosts:
            answer = task_vars["hostvars"][host].get(arguments["register"])
            if answer is None or "findings" not in answer:
                silent.append(host)
                continue
            findings += [Finding.from_dict(entry) for entry in answer["findings"]]
        if silent:
            findings.append(Finding("The host was not looked at", hint="its preflight task did not run; see above", hosts=tuple(silent)))
        result.update(changed=False, findings=[finding.as_dict() for finding in merge(findings)])
        if not findings:
            result["msg"] = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'} looked at, nothing is wrong"
            return result
        text = report(findings, hosts)
        # The result has the message once; `findings` beside it would print everything again.
        del result["findings"]
        result.update(failed=True, msg=text)
        return result
