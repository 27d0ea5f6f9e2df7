"""Worked examples of protocols, each with its generated handles. The tests run them; docs/protocols.md shows them."""
