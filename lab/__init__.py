"""Hosts, artifacts and notification sinks for a laptop or CI that reaches only package registries."""
