//! Decoders hold memory in proportion to their input, whatever counts and lengths it states.

/// Held at any moment, bytes, whatever the input: errors, one value of each type, small vectors before they grow.
const BASE_BYTES: u64 = 8 << 10;

/// Runs a decoder of `input` bytes.
///
/// # Panics
/// When it held more than `factor` bytes for each byte of its input at any moment, and the base.
pub(crate) fn in_proportion<T>(input: usize, factor: u64, decode: impl FnOnce() -> T) -> T {
    let mut value = None;
    let held = allocation_counter::measure(|| value = Some(decode())).bytes_max;
    let accepted = BASE_BYTES + factor * input as u64;
    assert!(
        held <= accepted,
        "held {held} bytes for an input of {input}, accepted are {accepted}"
    );
    value.expect("the decoder was called")
}
