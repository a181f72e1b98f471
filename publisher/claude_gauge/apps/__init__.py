"""What a command runs; one folder per command, none imports another, but `demo` and `device` may use `terminal`."""
