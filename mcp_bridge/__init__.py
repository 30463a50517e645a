"""The MCP stdio server: one mesh session as the tools of one AI session."""
