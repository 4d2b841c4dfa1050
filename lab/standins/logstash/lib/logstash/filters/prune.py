"""prune: keeps or takes out top-level fields by their names."""

from .. import options, ruby_regexp
from .base import Filter


class Prune(Filter):
    """See Logstash's documentation of the prune filter."""

    NAME = "prune"
    OPTIONS = options.declare({
        "whitelist_names": options.array([]), "blacklist_names": options.array(["%{[^}]+}"]), "whitelist_values": options.absent(),
        "blacklist_values": options.absent(), "interpolate": options.absent(),
    })

    def register(self):
        self._keep = [ruby_regexp.compiled(source).search for source in self["whitelist_names"]]
        self._remove = [ruby_regexp.compiled(source).search for source in self["blacklist_names"]]
        # Names come back over and over: each is judged once.
        self._judged = {}

    def _stays(self, name):
        if self._keep and not any(search(name) for search in self._keep):
            return False
        return not any(search(name) for search in self._remove)

    def filter(self, event):
        judged = self._judged
        for name in list(event.data):
            stays = judged.get(name)
            if stays is None:
                stays = self._stays(name)
                if len(judged) < 10000:
                    judged[name] = stays
            if not stays:
                del event.data[name]
        return True
