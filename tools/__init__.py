"""What writes the generated parts of the package. Nothing of this is installed with it."""
