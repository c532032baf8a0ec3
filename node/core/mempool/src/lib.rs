//! Lock-free bounded admission ring between signature verification and the replica.
