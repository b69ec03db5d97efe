"""CSV and XLSX as cells of text. What the cells mean is for their readers to say."""
