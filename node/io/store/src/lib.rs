//! Block log and written-behind state.
