"""The sources of usage: each fills the parts of a `Reading` that it knows."""
