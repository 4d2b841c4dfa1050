"""The project's own tools, run on the controller: `python -m observatory.<tool>`."""
