"""Real dev servers behind the whole preview: browser, TLS front, control plane, daemon."""
