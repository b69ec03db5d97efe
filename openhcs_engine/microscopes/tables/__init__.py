"""CSV and XLSX as cells of text. What the cells mean is not known here."""
