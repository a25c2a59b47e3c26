"""The composed config: its check (check), the objects that it describes (build), its hash (identity)."""
