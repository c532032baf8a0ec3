//! Deterministic simulator over the real replica, invariants, planted bugs, integration tests.
