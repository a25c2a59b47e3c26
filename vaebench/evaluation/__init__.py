"""One file per measure, each an evaluator with a version; base holds the protocol."""
