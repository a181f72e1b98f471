"""The operating system: files, children, addresses, signals."""
