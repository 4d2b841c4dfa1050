"""What can be wrong with what Logstash was given."""


class ConfigurationError(Exception):
    """A pipeline that Logstash refuses."""


class SettingError(Exception):
    """A setting of logstash.yml, pipelines.yml or the command line that Logstash refuses."""


class BootstrapCheckError(Exception):
    """Settings that Logstash refuses together."""


class UsageError(Exception):
    """A command line that Logstash refuses."""


class ConditionError(Exception):
    """A condition that cannot be evaluated for an event."""


class AbortedBatch(Exception):
    """A batch that was given up at a stop: it stays in the queue."""
