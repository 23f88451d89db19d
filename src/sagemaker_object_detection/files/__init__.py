"""Reading and writing files, for every other room: whole files, refused pipes, strict JSON, full disks."""
