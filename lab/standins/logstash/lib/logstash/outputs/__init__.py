"""The output plugins that this stand-in has."""

from .elasticsearch import Elasticsearch
from .pipeline import PipelineOutput
from .stdout import Stdout

OUTPUTS = {plugin.NAME: plugin for plugin in (Elasticsearch, PipelineOutput, Stdout)}
