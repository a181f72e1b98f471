"""The publisher as a service of the person's own session: systemd on Linux, launchd on macOS."""
