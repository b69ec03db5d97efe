"""The report of a plate: its page, tables, maps and pictures. It reads published outputs and never changes them."""
