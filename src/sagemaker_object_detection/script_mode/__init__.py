"""Jobs that bring a script of their own: the process that becomes it, and the one that watches over it."""
