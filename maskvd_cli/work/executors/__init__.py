"""Where units of work are performed."""
