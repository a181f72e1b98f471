"""ccusage as a source of fuel, by its command line or its MCP server."""
