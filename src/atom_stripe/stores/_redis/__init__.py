"""What the token stores on Redis do, once for both colours."""
