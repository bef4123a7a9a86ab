"""What `make check` looks at beyond lint and types: words, sizes, paths, pictures."""
