"""Operations: each defined once, served as a REST route and as an MCP tool."""
