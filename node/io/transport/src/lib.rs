//! QUIC endpoints: pinned identities, limits, framing.
