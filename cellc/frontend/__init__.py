"""From syntax trees to typed cells: deriving, naming, shapes."""
