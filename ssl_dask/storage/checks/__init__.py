"""Every check of an input before work begins."""
