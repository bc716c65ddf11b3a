"""The `embed` command."""
