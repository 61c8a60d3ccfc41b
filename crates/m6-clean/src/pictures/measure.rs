//! Numbers of a small copy: sharpness and colours.

use m6_image::Rgb8;

use super::scale::Gray;

/// Colours are counted in this many steps a channel.
const COLOR_STEPS: usize = 16;

/// Variance of the four-neighbour Laplacian of the luma (levels squared, 0..=about 1e6); 0 below 3x3 pixels.
///
/// Sums are of integers, so that the value is the same on every machine.
pub(super) fn laplacian_variance(gray: &Gray) -> f64 {
    let (width, height) = (gray.width, gray.height);
    if width < 3 || height < 3 {
        return 0.0;
    }
    let (mut sum, mut squares) = (0i64, 0i64);
    for y in 1..height - 1 {
        let row = |y: usize| &gray.data[y * width..(y + 1) * width];
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        for x in 1..width - 1 {
            let [up, down, left, right, mid] =
                [above[x], below[x], here[x - 1], here[x + 1], here[x]].map(i32::from);
            let edge = 4 * mid - up - down - left - right;
            sum += i64::from(edge);
            squares += i64::from(edge * edge);
        }
    }
    let n = ((width - 2) * (height - 2)) as f64;
    let mean = sum as f64 / n;
    (squares as f64 / n - mean * mean).max(0.0)
}

/// How many of the 4,096 colours of 4 bits a channel occur, and the share (0..=1) of the most frequent one.
pub(super) fn colors(image: &Rgb8) -> (u32, f64) {
    let mut counts = vec![0u32; COLOR_STEPS.pow(3)];
    for pixel in image.data.chunks_exact(3) {
        let step = |value: u8| usize::from(value >> 4);
        let at = (step(pixel[0]) * COLOR_STEPS + step(pixel[1])) * COLOR_STEPS + step(pixel[2]);
        counts[at] += 1;
    }
    let n_pixels = image.data.len() / 3;
    let most = counts.iter().copied().max().unwrap_or(0);
    let n_colors = counts.iter().filter(|&&count| count > 0).count() as u32;
    (n_colors, f64::from(most) / n_pixels.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Gray {
        let data = (0..width * height)
            .map(|at| value(at % width, at / width))
            .collect();
        Gray {
            width,
            height,
            data,
        }
    }

    #[test]
    fn sharpness_of_known_pictures() {
        let check = |gray: &Gray, expected: f64| {
            let got = laplacian_variance(gray);
            assert!((got - expected).abs() < 1e-9, "{got}, not {expected}");
        };
        check(&gray(9, 9, |_, _| 77), 0.0);
        // A ramp has no second derivative.
        check(&gray(20, 9, |x, _| 10 * x as u8), 0.0);
        check(&gray(2, 50, |x, y| (x * 90 + y) as u8), 0.0);
        check(&gray(0, 0, |_, _| 0), 0.0);
        // A board of single black and white pixels: every Laplacian is +-1020, as many of each.
        check(
            &gray(10, 10, |x, y| 255 * ((x + y) % 2) as u8),
            1020.0 * 1020.0,
        );
        // One bright pixel in the middle of 5x5: 4a and four times -a among 9 places.
        let dot = gray(5, 5, |x, y| if (x, y) == (2, 2) { 90 } else { 0 });
        check(&dot, 90.0 * 90.0 * 20.0 / 9.0);
    }

    #[test]
    fn colours_are_counted_in_steps_of_sixteen() {
        let check = |data: Vec<u8>, expected: (u32, f64)| {
            let image = Rgb8 {
                width: data.len() / 3,
                height: 1,
                data,
            };
            assert_eq!(colors(&image), expected);
        };
        check(vec![], (0, 0.0));
        check(vec![7, 7, 7, 15, 15, 15], (1, 1.0));
        check(vec![15, 0, 0, 16, 0, 0, 17, 0, 0, 31, 0, 0], (2, 0.75));
        check(vec![0, 0, 255, 0, 255, 0, 255, 0, 0], (3, 1.0 / 3.0));
    }
}
