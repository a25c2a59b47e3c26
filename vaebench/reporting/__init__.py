"""Reports from run directories. Reads files only and never imports torch."""
