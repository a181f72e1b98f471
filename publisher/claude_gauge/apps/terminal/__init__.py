"""The cluster in a terminal: a pure picture, and the screen that shows it."""
