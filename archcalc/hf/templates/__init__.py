"""What many families share: each builder returns a row from its switches."""
