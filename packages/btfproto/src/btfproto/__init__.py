"""The blocktree file system: store, file messages, client, server and LocalFs."""
