"""Where usage is read from: each source fills the parts of a `Reading` that it can know."""
