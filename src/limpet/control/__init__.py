"""The control plane: the service that users and agents talk to."""
