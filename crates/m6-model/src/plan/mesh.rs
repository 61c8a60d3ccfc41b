//! How the ranks of a job are arranged.

use crate::config::ModelConfig;
use serde::Serialize;

/// Ranks side by side: `data` of them see different samples, each of them is `tensor` ranks that share the matrices of attention, dense feed-forward and words. Experts
/// of a layer are dealt out to `expert` neighbouring data ranks (paper sections 2.5 and 3.2). There are no pipeline stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Mesh {
    /// Ranks, or groups of `tensor` ranks, that see different samples.
    pub data: usize,
    /// Data ranks that share the experts of a layer; divides `data` and the number of experts.
    pub expert: usize,
    /// Ranks that share matrices; divides heads and the inner width.
    pub tensor: usize,
    /// What is spread over replicas: 0 nothing, 1 moments, 2 gradients as well, 3 weights as well (ZeRO, Rajbhandari and others 2020).
    pub zero: u8,
}

impl Mesh {
    /// The mesh for `gpus` ranks that `text` asks for, `data=..,expert=..,tensor=..,zero=..` in any order. What it leaves out: `tensor` 1,
    /// `zero` 0, `data` as many as there is room for, `expert` the most that divides `data` and the experts of `cfg`.
    ///
    /// # Errors
    /// Every problem, one sentence each.
    pub fn parse(text: &str, gpus: usize, cfg: &ModelConfig) -> Result<Self, Vec<String>> {
        let mut given: [Option<usize>; 4] = [None; 4];
        let mut problems = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let slot = part.split_once('=').and_then(|(key, value)| {
                let names = ["data", "expert", "tensor", "zero"];
                let slot = names.iter().position(|name| *name == key.trim())?;
                Some((slot, value.trim().parse::<usize>().ok()?))
            });
            match slot {
                Some((slot, n)) => given[slot] = Some(n),
                None => problems.push(format!(
                    "mesh: `{part}` is none of data=N, expert=N, tensor=N, zero=0|1|2|3"
                )),
            }
        }
        let [data, expert, tensor, zero] = given;
        let tensor = tensor.unwrap_or(1);
        let data = data.unwrap_or_else(|| gpus.checked_div(tensor).unwrap_or(0));
        let mesh = Self {
            data,
            expert: expert.unwrap_or_else(|| gcd(data, cfg.experts.n_experts).max(1)),
            tensor,
            zero: u8::try_from(zero.unwrap_or(0)).unwrap_or(u8::MAX),
        };
        problems.extend(mesh.problems(gpus, cfg));
        match problems.is_empty() {
            true => Ok(mesh),
            false => Err(problems),
        }
    }

    /// Ranks in all.
    pub fn ranks(&self) -> usize {
        self.data.saturating_mul(self.tensor)
    }

    /// Ranks that hold the same expert.
    pub fn expert_replicas(&self) -> usize {
        self.data / self.expert.max(1)
    }

    /// Everything that keeps `cfg` from running so on `gpus` ranks, one sentence each.
    pub fn problems(&self, gpus: usize, cfg: &ModelConfig) -> Vec<String> {
        let mut out = Vec::new();
        for (name, n) in [
            ("data", self.data),
            ("expert", self.expert),
            ("tensor", self.tensor),
        ] {
            if n == 0 {
                out.push(format!("mesh: {name} = 0 must be 1 or more"));
            }
        }
        if self.zero > 3 {
            out.push("mesh: zero must be 0, 1, 2 or 3".into());
        }
        if !out.is_empty() {
            return out;
        }
        if self.ranks() != gpus {
            out.push(format!(
                "mesh: data {} x tensor {} is {} ranks, not the {gpus} GPUs there are",
                self.data,
                self.tensor,
                self.ranks()
            ));
        }
        let e = cfg.experts.n_experts;
        for (name, n, what, of) in [
            ("expert", self.expert, "data", self.data),
            ("expert", self.expert, "model.experts.n_experts", e),
            ("tensor", self.tensor, "model.n_heads", cfg.n_heads),
            ("tensor", self.tensor, "model.d_ff", cfg.d_ff),
        ] {
            if of % n != 0 {
                out.push(format!(
                    "mesh: {name} = {n} does not divide {what} = {of}; the nearest below that does is {}",
                    (1..=n.min(of.max(1))).rev().find(|k| of % k == 0).unwrap_or(1)
                ));
            }
        }
        out
    }
}

impl std::fmt::Display for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "data={},expert={},tensor={},zero={}",
            self.data, self.expert, self.tensor, self.zero
        )
    }
}

/// Greatest common divisor; that of 0 and `n` is `n`.
fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

/// Numbers that divide `n`, in rising order.
pub(super) fn divisors(n: usize) -> Vec<usize> {
    let mut out: Vec<usize> = (1..)
        .take_while(|i| i * i <= n)
        .filter(|i| n.is_multiple_of(*i))
        .collect();
    let large: Vec<usize> = out
        .iter()
        .rev()
        .map(|i| n / i)
        .filter(|i| i * i > n)
        .collect();
    out.extend(large);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExpertsConfig;

    fn sparse(n_experts: usize) -> ModelConfig {
        ModelConfig {
            experts: ExpertsConfig {
                n_experts,
                ..ExpertsConfig::default()
            },
            ..ModelConfig::default()
        }
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let mesh = |text, gpus, e| {
            Mesh::parse(text, gpus, &sparse(e))
                .expect("valid")
                .to_string()
        };
        assert_eq!(mesh("", 8, 1), "data=8,expert=1,tensor=1,zero=0");
        assert_eq!(mesh("", 480, 960), "data=480,expert=480,tensor=1,zero=0");
        assert_eq!(
            mesh(" zero=2, tensor=4 ", 128, 1024),
            "data=32,expert=32,tensor=4,zero=2"
        );
        assert_eq!(mesh("expert=2", 6, 4), "data=6,expert=2,tensor=1,zero=0");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let check = |text: &str, gpus, expected: &[&str]| {
            let problems = Mesh::parse(text, gpus, &sparse(8)).expect_err(text);
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.contains(expected), "{problem}, not: {expected}");
            }
        };
        check("data=3,tensor=2", 8, &["data 3 x tensor 2 is 6 ranks"]);
        check(
            "expert=3",
            8,
            &["does not divide data = 8", "n_experts = 8"],
        );
        check("tensor=3,data=1", 3, &["n_heads = 16", "d_ff = 4096"]);
        check("pipeline=2,data", 8, &["`pipeline=2`", "`data`"]);
        check("zero=4", 8, &["zero must be"]);
        check(
            "zero=400,tensor=0",
            8,
            &["data = 0", "tensor = 0", "zero must be"],
        );
        check("data=0", 0, &["data = 0"]);
    }

    #[test]
    fn divisors_are_all_and_in_order() {
        for n in 1..200 {
            let slow: Vec<usize> = (1..=n).filter(|i| n % i == 0).collect();
            assert_eq!(divisors(n), slow, "{n}");
        }
    }
}
