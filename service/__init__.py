"""Matching over HTTP, and the page of it: `embed serve`. Needs the extra [serve]."""
