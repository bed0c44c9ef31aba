"""What a person looks at: diagrams, LaTeX, figures, sentences."""
