//! Connected regions of a mask, found run by run.

/// Pixels of one row between `from` and `to`, and the region they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub y: u32,
    pub from: u32,
    pub to: u32,
    /// Index into [`Regions::list`].
    pub region: u32,
}

/// One connected region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub left: u32,
    pub top: u32,
    /// One behind the last column.
    pub right: u32,
    /// One behind the last row.
    pub bottom: u32,
    /// Pixels.
    pub area: u32,
    /// Edges between its pixels and others, those of the picture included.
    pub perimeter: u32,
    /// Runs it is made of.
    pub n_runs: u32,
}

impl Region {
    pub fn width(&self) -> u32 {
        self.right - self.left
    }

    pub fn height(&self) -> u32 {
        self.bottom - self.top
    }

    fn join(&mut self, other: &Region) {
        self.left = self.left.min(other.left);
        self.top = self.top.min(other.top);
        self.right = self.right.max(other.right);
        self.bottom = self.bottom.max(other.bottom);
        self.area += other.area;
        self.perimeter += other.perimeter;
        self.n_runs += other.n_runs;
    }
}

/// Which neighbours of a pixel belong to the same region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// Those beside, above and below.
    Four,
    /// Also those at the corners.
    Eight,
}

/// The regions of a mask.
#[derive(Debug, Default)]
pub(super) struct Regions {
    /// In the order of their first pixel.
    pub list: Vec<Region>,
    /// All runs, row by row.
    pub runs: Vec<Run>,
}

impl Regions {
    /// Regions of the pixels for which `mask` (row-major, `width` a row) is not 0.
    pub fn of(mask: &[u8], width: usize, neighbours: Neighbours) -> Self {
        let reach = u32::from(neighbours == Neighbours::Eight);
        let mut runs: Vec<Run> = Vec::new();
        let mut leaders: Vec<u32> = Vec::new();
        let mut parts: Vec<Region> = Vec::new();
        let mut above = 0..0;
        for (row, y) in mask.chunks_exact(width.max(1)).zip(0..) {
            let first = runs.len();
            let mut near = above.start;
            let mut x = 0;
            while let Some((from, to)) = next_run(row, x) {
                x = to as usize;
                let own = parts.len() as u32;
                let mut part = Region {
                    left: from,
                    top: y,
                    right: to,
                    bottom: y + 1,
                    area: to - from,
                    perimeter: 2 + 2 * (to - from),
                    n_runs: 1,
                };
                leaders.push(own);
                while near < above.end && runs[near].to + reach <= from {
                    near += 1;
                }
                let mut at = near;
                while at < above.end && runs[at].from < to + reach {
                    let shared = runs[at].to.min(to).saturating_sub(runs[at].from.max(from));
                    part.perimeter -= 2 * shared;
                    unite(&mut leaders, runs[at].region, own);
                    at += 1;
                }
                parts.push(part);
                runs.push(Run {
                    y,
                    from,
                    to,
                    region: own,
                });
            }
            above = first..runs.len();
        }
        collect(runs, &mut leaders, &parts)
    }
}

/// The next stretch of pixels that are set, from column `x` on.
fn next_run(row: &[u8], x: usize) -> Option<(u32, u32)> {
    let from = x + row[x..].iter().position(|&set| set != 0)?;
    let length = row[from..].iter().position(|&set| set == 0);
    let to = length.map_or(row.len(), |length| from + length);
    Some((from as u32, to as u32))
}

fn leader(leaders: &mut [u32], mut at: u32) -> u32 {
    while leaders[at as usize] != at {
        let next = leaders[leaders[at as usize] as usize];
        leaders[at as usize] = next;
        at = next;
    }
    at
}

/// The smaller number leads, so that regions come in the order of their first pixel.
fn unite(leaders: &mut [u32], a: u32, b: u32) {
    let (a, b) = (leader(leaders, a), leader(leaders, b));
    leaders[a.max(b) as usize] = a.min(b);
}

fn collect(mut runs: Vec<Run>, leaders: &mut [u32], parts: &[Region]) -> Regions {
    const NONE: u32 = u32::MAX;
    let mut numbers = vec![NONE; parts.len()];
    let mut list: Vec<Region> = Vec::new();
    for (run, part) in runs.iter_mut().zip(parts) {
        let lead = leader(leaders, run.region) as usize;
        if numbers[lead] == NONE {
            numbers[lead] = list.len() as u32;
            list.push(*part);
        } else {
            list[numbers[lead] as usize].join(part);
        }
        run.region = numbers[lead];
    }
    Regions { list, runs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn regions(rows: &[&str], neighbours: Neighbours) -> Regions {
        let mask: Vec<u8> = rows
            .iter()
            .flat_map(|row| row.bytes().map(|b| u8::from(b == b'#')))
            .collect();
        Regions::of(&mask, rows[0].len(), neighbours)
    }

    #[test]
    fn regions_of_drawn_masks() {
        let rows = ["##..#", "#..#.", "...#.", "##.##"];
        let four = regions(&rows, Neighbours::Four);
        assert_eq!(four.list.len(), 4);
        let eight = regions(&rows, Neighbours::Eight);
        let areas: Vec<u32> = eight.list.iter().map(|region| region.area).collect();
        assert_eq!(areas, [3, 5, 2]);
        let bent = eight.list[1];
        assert_eq!((bent.left, bent.top, bent.right, bent.bottom), (3, 0, 5, 4));
        // A ring of eight pixels: twelve edges outside, four inside.
        let ring = regions(&["###", "#.#", "###"], Neighbours::Four);
        assert_eq!((ring.list.len(), ring.list[0].perimeter), (1, 16));
        assert_eq!((ring.list[0].area, ring.list[0].n_runs), (8, 4));
        // The arms of a U are one region from the row that joins them on.
        let u = regions(&["#.#", "#.#", "###"], Neighbours::Four);
        assert_eq!((u.list.len(), u.list[0].area), (1, 7));
        assert!(u.runs.iter().all(|run| run.region == 0));
        assert!(Regions::of(&[], 0, Neighbours::Four).list.is_empty());
    }

    /// The same by filling from every pixel.
    fn filled(mask: &[u8], width: usize, neighbours: Neighbours) -> Vec<usize> {
        let mut label = vec![0; mask.len()];
        let mut areas = Vec::new();
        for start in 0..mask.len() {
            if mask[start] == 0 || label[start] != 0 {
                continue;
            }
            areas.push(0);
            let mut open = vec![start];
            label[start] = areas.len();
            while let Some(at) = open.pop() {
                *areas.last_mut().unwrap() += 1;
                let (x, y) = ((at % width) as i64, (at / width) as i64);
                for (dx, dy) in [
                    (0, 1),
                    (0, -1),
                    (1, 0),
                    (-1, 0),
                    (1, 1),
                    (1, -1),
                    (-1, 1),
                    (-1, -1),
                ] {
                    if neighbours == Neighbours::Four && dx * dy != 0 {
                        continue;
                    }
                    let (x, y) = (x + dx, y + dy);
                    let is_inside =
                        x >= 0 && y >= 0 && x < width as i64 && y < (mask.len() / width) as i64;
                    let to = (y * width as i64 + x) as usize;
                    if is_inside && mask[to] != 0 && label[to] == 0 {
                        label[to] = areas.len();
                        open.push(to);
                    }
                }
            }
        }
        areas
    }

    proptest! {
        #[test]
        fn regions_are_those_of_a_flood_fill(width in 1usize..20, bits in prop::collection::vec(0u8..2, 0..300)) {
            let mask = &bits[..bits.len() / width * width];
            for neighbours in [Neighbours::Four, Neighbours::Eight] {
                let found = Regions::of(mask, width, neighbours);
                let areas: Vec<usize> = found.list.iter().map(|region| region.area as usize).collect();
                prop_assert_eq!(areas, filled(mask, width, neighbours));
                let n: u32 = found.runs.iter().map(|run| run.to - run.from).sum();
                prop_assert_eq!(n as usize, mask.iter().filter(|&&set| set != 0).count());
            }
        }
    }
}
