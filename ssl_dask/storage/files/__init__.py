"""Files and folders: listing, durable writes, locks. Knows no table."""
