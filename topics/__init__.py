"""The museum's words and how they are read. A leaf: imports nothing of ours."""
