"""Stand-in for Kibana 9.5 in Observatory's lab. README.md says what it does, and what it does not prove."""
