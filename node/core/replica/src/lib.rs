//! Composes the protocol machines: events in, effects out.
