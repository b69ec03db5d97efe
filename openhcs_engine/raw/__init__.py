"""Raw planes and their headers, only ever read. Which plane means what is the microscopes' to say."""
