"""The composed config: what it may say (check), what it makes (build), what it is called (identity)."""
