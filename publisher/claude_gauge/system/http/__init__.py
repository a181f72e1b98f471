"""One HTTP server for every address that the publisher listens on."""
