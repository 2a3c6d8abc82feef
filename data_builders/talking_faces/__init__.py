"""Any folder of videos of talking people."""
