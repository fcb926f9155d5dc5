TEXT = "Hello, limpet"
