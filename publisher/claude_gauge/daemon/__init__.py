"""The running publisher: built from the settings, locked to one per node, ended in order."""
