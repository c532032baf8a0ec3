//! UTXO set: check, parallel apply, effects digest, conservation.
