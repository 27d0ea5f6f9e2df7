"""Working on files by path: finding, listing, copying, removing. Works over any `FsProvider`; knows no terminal."""
