//! Hash contexts, Merkle trees, keys, batch signature verification, certificates and placement.
