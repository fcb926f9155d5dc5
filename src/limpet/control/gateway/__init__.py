"""A run's model, handed into its sandbox: judged, counted, and with the key put in outside."""
