//! Every tolerance of the numerical tests, in one table. They are never loosened in the change that needs it.
//!
//! All are relative to the largest magnitude of the expected tensor, so that a tensor of small numbers is held to the same standard.

/// One operator in `f32` against PyTorch, forward and gradients.
pub const OP_F32: f64 = 1e-5;
/// One transformer block in `f32` against PyTorch.
pub const BLOCK_F32: f64 = 1e-4;
/// Logits after all layers in `f32` against PyTorch.
pub const LOGITS_F32: f64 = 1e-3;
/// Fused against composed operators in `f64`: the same mathematics in another order.
pub const COMPOSED_F64: f64 = 1e-12;
/// Fused against composed operators in `f32`.
pub const COMPOSED_F32: f64 = 1e-5;
/// Gradients in `f64` against central finite differences.
pub const FINITE_DIFFERENCE_F64: f64 = 1e-7;

/// Largest difference of two lists, relative to the largest magnitude of `want`; infinite if a number is not finite or lengths differ.
pub fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    if got.len() != want.len() || got.iter().chain(want).any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    let scale = want.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let worst = got
        .iter()
        .zip(want)
        .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    if worst == 0.0 {
        0.0
    } else {
        worst / scale.max(f64::MIN_POSITIVE)
    }
}

/// Panics with name and error if two lists differ by more than `limit` in the sense of [`relative_error`].
#[track_caller]
pub fn assert_close(name: &str, got: &[f64], want: &[f64], limit: f64) {
    let error = relative_error(got, want);
    assert!(
        error <= limit,
        "{name}: relative error {error:e} exceeds {limit:e} ({} and {} numbers)",
        got.len(),
        want.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_relative_to_the_largest_number_and_never_hides_damage() {
        assert_eq!(relative_error(&[1.0, 4.0], &[1.0, 5.0]), 0.2);
        assert_eq!(relative_error(&[0.0], &[0.0]), 0.0);
        assert_eq!(relative_error(&[f64::NAN], &[f64::NAN]), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert!(relative_error(&[1.0], &[0.0]) > 1.0);
    }
}
