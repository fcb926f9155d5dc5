"""Model loops, and the tools that they hand to a model. Knows neither control nor runners."""
