//! What a panic does under the fuzzer.

/// Panics that the code under test catches (those of other people's decoders) are no findings; all others still end the run.
///
/// libFuzzer's wrapper aborts in the panic hook, before anything can be caught. It also aborts on what reaches it.
pub fn allow_caught_panics() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}
