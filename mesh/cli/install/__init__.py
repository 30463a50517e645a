"""How the MCP server is entered into the configurations of AI clients."""
