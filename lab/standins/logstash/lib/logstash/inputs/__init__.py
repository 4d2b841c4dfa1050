"""The input plugins that this stand-in has."""

from .beats import Beats
from .dead_letter_queue import DeadLetterQueue
from .pipeline import PipelineInput

INPUTS = {plugin.NAME: plugin for plugin in (Beats, DeadLetterQueue, PipelineInput)}
