"""What is told: report.json, the page, the terminal, and scripts that reproduce a row."""
