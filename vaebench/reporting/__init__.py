"""Tables from run directories; reads files only and never imports torch."""
