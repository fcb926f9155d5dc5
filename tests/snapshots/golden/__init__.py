"""A repository of version 1 that every later version must read; `store` holds its bytes."""
