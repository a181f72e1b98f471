"""A scripted day, written as real transcripts, so that the needles move on a machine with nothing installed."""
