//! PBFT with collective signatures, pipelining and view change.
