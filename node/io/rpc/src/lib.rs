//! Client protocol: server half, client half.
