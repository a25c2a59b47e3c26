"""Networks: torch modules without probability distributions."""
