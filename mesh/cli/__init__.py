"""The command line: for people, and for agents that have a shell but no MCP."""
