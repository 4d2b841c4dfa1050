"""The filter plugins that this stand-in has."""

from .dates import Date
from .dissect import Dissect
from .drop import Drop
from .fingerprint import Fingerprint
from .grok import Grok
from .json_filter import Json
from .mutate import Mutate
from .prune import Prune
from .syslog_pri import SyslogPri
from .translate import Translate
from .truncate import Truncate

FILTERS = {plugin.NAME: plugin for plugin in (Date, Dissect, Drop, Fingerprint, Grok, Json, Mutate, Prune, SyslogPri, Translate, Truncate)}
