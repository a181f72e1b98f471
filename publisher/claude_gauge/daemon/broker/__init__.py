"""The broker that the publisher starts itself where none answers."""
