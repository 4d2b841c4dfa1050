"""Sends a module of this collection without Ansible's own library, which a host would compile anew for each task.

Ansible wraps a Python module into an archive with all that it imports, half a megabyte of source of which our modules use a frame of a few
lines; compiling that takes a host some 0.3 s a task, more than the work of a run without a change. Here the archive is replaced by a program of our own:
the module, the collection's module_utils, each compiled when it is imported, and module_utils/lean.py in the place of
ansible.module_utils.basic. All else stays Ansible's: connection, become, pipelining, environment, temporary files, reading of the answer.
"""

from __future__ import annotations

import base64
import json
import os
import zlib

from ansible import constants as C
from ansible.plugins.action import ActionBase

try:
    from ansible.executor.module_common import _BuiltModule
    from ansible.module_utils.common.json import Direction, get_module_encoder
except ImportError:  # another ansible-core: its own way works as well, only slower
    _BuiltModule = None

PLUGINS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "ansible_collections.observatory.core.plugins.module_utils"
# Ansible's name for answers in plain JSON.
PROFILE = "legacy"
PROGRAM = '''
import sys
sys.dont_write_bytecode = True
import base64, json, zlib
from importlib.machinery import ModuleSpec


class Sources:
    """Finds and loads modules among the texts that came along."""

    def __init__(self, texts):
        self.texts = texts

    def find_spec(self, name, path=None, target=None):
        package = any(other.startswith(name + ".") for other in self.texts)
        if name in self.texts or package:
            return ModuleSpec(name, self, is_package=package)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        exec(compile(self.texts.get(name, ""), name.replace(".", "/") + ".py", "exec"), module.__dict__)


def run(packed):
    name, texts, arguments = json.loads(zlib.decompress(base64.b64decode(packed)))
    sys.meta_path.insert(0, Sources(texts))
    from ansible.module_utils import basic
    basic.ARGUMENTS.update(arguments)
    space = {"__name__": "__main__"}
    try:
        exec(compile(texts[name], name.replace(".", "/") + ".py", "exec"), space)
    except Exception as error:
        import traceback
        print("\\n" + json.dumps({"failed": True, "msg": "{0}: {1}".format(type(error).__name__, error), "exception": traceback.format_exc()}))
        sys.exit(1)


run("PACKED")
'''


class LeanAction(ActionBase):
    """An action whose module is of this collection and needs no more of Ansible than module_utils/lean.py has.

    The action checks the options and fills in defaults: the module does not do it again.
    """

    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False

    def _configure_module(self, module_name, module_args, task_vars):
        interpreter = self._interpreter(task_vars)
        if _BuiltModule is None or interpreter is None:
            return super()._configure_module(module_name, module_args, task_vars)
        path = os.path.join(PLUGINS, "modules", module_name.rpartition(".")[2] + ".py")
        arguments = json.dumps(module_args, cls=get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE))
        built = _BuiltModule(
            b_module_data=program(path, arguments).encode(), module_style="new", shebang="#!" + interpreter, serialization_profile=PROFILE
        )
        return built, path

    def _interpreter(self, task_vars):
        """Return the path of the host's Python, None where Ansible has to look for it."""
        variables = task_vars["ansible_delegated_vars"][self._task.delegate_to] if self._task.delegate_to else task_vars
        given = self._templar.template(variables.get("ansible_python_interpreter"))
        path = str(given or C.config.get_config_value("INTERPRETER_PYTHON", variables=variables))
        return path if path.startswith("/") else None


def program(path, arguments):
    """Return the program that runs the module in `path` with its options (JSON)."""
    texts = {name: _text(file) for name, file in _library()}
    texts["ansible.module_utils.basic"] = texts.pop(PACKAGE + ".lean")
    texts["module"] = _text(path)
    # Options come last and as they are: they may be large, and were made JSON by Ansible's own encoder.
    packed = '["module", {0}, {1}]'.format(json.dumps(texts), arguments)
    return PROGRAM.replace("PACKED", base64.b64encode(zlib.compress(packed.encode(), 1)).decode())


def _library():
    folder = os.path.join(PLUGINS, "module_utils")
    for file in sorted(os.listdir(folder)):
        if file.endswith(".py"):
            yield "{0}.{1}".format(PACKAGE, file[:-3]), os.path.join(folder, file)


def _text(path):
    with open(path, encoding="utf-8") as handle:
        return handle.read()
